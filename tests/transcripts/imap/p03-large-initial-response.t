# P03: an initial response of 8192 bytes.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE PLAIN \(A*8192)
A> ask PLAIN \(\0*6144)
A< FAIL
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a2 AUTHENTICATE PLAIN
A> ask PLAIN
A< CONT
C> + \c
C> \r\n\c
C< \(A*8192)
A> answer \(\0*6144)
A< FAIL
C> a2 NO [AUTHENTICATIONFAILED] Authentication failed.
