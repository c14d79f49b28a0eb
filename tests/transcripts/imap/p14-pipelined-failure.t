# P14: after a failure it is executed once by us.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john wrong
C< a2 NOOP
C< a3 LOGIN john secret
C< a4 NOOP
A> ask PLAIN \0john\0wrong
A< FAIL user=john
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C> a2 OK NOOP completed.
A> ask PLAIN \0john\0secret
A< FAIL user=john
C> a3 NO [AUTHENTICATIONFAILED] Authentication failed.
C> a4 OK NOOP completed.
