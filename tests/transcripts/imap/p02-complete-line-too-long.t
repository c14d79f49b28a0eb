# P02: the same when the line is complete; nothing behind it is run.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john \(A*8330)
C< a2 NOOP
C> * BYE Input buffer full, aborting
log: I Disconnected: Input buffer full: rip=10.0.0.5, lip=10.0.0.1
C> !close
