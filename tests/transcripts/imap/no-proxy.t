# An accepted user without proxy and host: there is no mail here, and the log says so.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john
log: E user=<john>: passdb returned neither proxy nor host: no local mail storage here
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
