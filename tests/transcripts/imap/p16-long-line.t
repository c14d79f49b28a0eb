# P16 P02: a SASL line over the limit ends the connection.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE PLAIN
A> ask PLAIN
A< CONT
C> + \c
C> \r\n\c
C< \(=*8194)\c
C> * BYE Input buffer full, aborting
A> cancel
log: I Disconnected: Input buffer full: method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
