# P02: AUTH may be longer, but not without end.
protocol: pop3
---
C> +OK Dovecot ready.
C< AUTH PLAIN \(A*8300)\c
C> -ERR Input line too long, aborting
log: I Disconnected: Input buffer full: rip=10.0.0.5, lip=10.0.0.1
C> !close
