# P11: a HTTP request gets as far as its third line.
protocol: pop3
---
C> +OK Dovecot ready.
C< POST / HTTP/1.1
C< Host: mail.example:110
C< \r\n\c
C< USER john
C< PASS secret
C> -ERR Unknown command.
C> -ERR Unknown command.
C> -ERR Too many bad commands.
log: I Disconnected: Too many bad commands: rip=10.0.0.5, lip=10.0.0.1
C> !close
