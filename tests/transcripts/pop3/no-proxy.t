# Neither proxy nor host: there is no mail here.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john
log: E user=<john>: passdb returned neither proxy nor host: no local mail storage here
C> -ERR [SYS/TEMP] Temporary authentication failure.
