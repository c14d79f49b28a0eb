# P02: 1024 bytes a line.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER \(A*1020)\c
C> -ERR Input line too long, aborting
log: I Disconnected: Input buffer full: rip=10.0.0.5, lip=10.0.0.1
C> !close
