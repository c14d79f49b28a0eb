# P02: the byte that passes the limit ends the connection.
protocol: imap
---
C> * OK Dovecot ready.
C< \(A*8321)\c
C> * BYE Input buffer full, aborting
log: I Disconnected: Input buffer full: rip=10.0.0.5, lip=10.0.0.1
C> !close
