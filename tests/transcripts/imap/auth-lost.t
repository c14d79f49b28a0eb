# F03: auth died with the request open: temporary, and the client may try again.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< !lost
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john
C> a2 NO [AUTHENTICATIONFAILED] Authentication failed.
