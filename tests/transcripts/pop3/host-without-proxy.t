# host without proxy would be a referral, which POP3 does not know; in a failure it is nothing.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john host=192.0.2.1
log: E user=<john>: passdb returned host without proxy: no local mail storage here
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< FAIL user=john host=192.0.2.1
C> -ERR [AUTH] Authentication failed.
