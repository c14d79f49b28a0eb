# P15: leaving in the middle cancels.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE PLAIN
A> ask PLAIN
A< CONT
C> + \c
C> \r\n\c
C< AGpv\c
C< !eof
A> cancel
log: I Disconnected: method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
