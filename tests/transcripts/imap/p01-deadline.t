# P01: one byte now and then does not renew the deadline.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
time: 100
C< a1 LOG\c
time: 179
C< IN \c
time: 180
C> * BYE Disconnected for inactivity.
log: I Disconnected: Inactivity: rip=10.0.0.5, lip=10.0.0.1
C> !close
