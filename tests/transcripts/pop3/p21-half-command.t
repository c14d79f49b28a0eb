# P21: half a command, then the end.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER jo\c
C< !eof
log: I Disconnected: rip=10.0.0.5, lip=10.0.0.1
C> !close
