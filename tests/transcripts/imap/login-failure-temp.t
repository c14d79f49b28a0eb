# Database down: UNAVAILABLE, and the connection stays.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john temp
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john temp proxy reason=x
C> a2 NO [UNAVAILABLE] Temporary authentication failure.
