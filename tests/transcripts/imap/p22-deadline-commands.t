# P22: neither do commands.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
time: 179
C< a1 NOOP
C> a1 OK NOOP completed.
time: 180
C> * BYE Disconnected for inactivity.
log: I Disconnected: Inactivity: rip=10.0.0.5, lip=10.0.0.1
C> !close
