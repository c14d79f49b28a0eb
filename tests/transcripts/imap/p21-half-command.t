# P21: half a command and the end.
protocol: imap
---
C> * OK Dovecot ready.
C< a LOGIN john\c
C< !eof
log: I Disconnected: rip=10.0.0.5, lip=10.0.0.1
C> !close
