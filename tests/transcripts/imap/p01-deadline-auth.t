# P01: the deadline ends a session whose auth does not answer.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
time: 180
C> * BYE Disconnected for inactivity.
A> cancel
log: I Disconnected: Inactivity: method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
