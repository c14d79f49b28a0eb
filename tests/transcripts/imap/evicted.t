# X01: the oldest that has not logged in goes with BYE.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
end: Connection queue full
C> * BYE Connection queue full.
log: I Disconnected: Connection queue full: rip=10.0.0.5, lip=10.0.0.1
C> !close
