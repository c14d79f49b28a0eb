# P01: the deadline is not renewed by input.
protocol: pop3
sockets: no
---
C> +OK Dovecot ready.
time: 179
C< USER john
C> +OK
time: 180
C> -ERR Disconnected for inactivity.
log: I Disconnected: Inactivity: rip=10.0.0.5, lip=10.0.0.1
C> !close
