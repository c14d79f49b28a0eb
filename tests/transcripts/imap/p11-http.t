# P11: a HTTP request gets as far as its third line; its body is never run.
protocol: imap
---
C> * OK Dovecot ready.
C< POST / HTTP/1.1
C< Host: mail.example:143
C< Content-Length: 99
C< \r\n\c
C< a1 LOGIN john secret
C> POST BAD Error in IMAP command received by server.
C> Host: BAD Error in IMAP command received by server.
C> * BYE Too many invalid IMAP commands.
log: I Disconnected: Too many invalid commands: rip=10.0.0.5, lip=10.0.0.1
C> !close
