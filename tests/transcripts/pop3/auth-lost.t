# F03: auth died with the request open.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< !lost
C> -ERR [SYS/TEMP] Temporary authentication failure.
