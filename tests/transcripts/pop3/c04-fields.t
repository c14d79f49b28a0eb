# C04: nor does one that the passdb brought.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=x\nDELE
log: E proxy(john): field pass holds CR, LF or NUL, nothing was sent to the backend
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=jo\rhn proxy host=192.0.2.1 pass=x
log: E proxy(jo\x0dhn): field destuser holds CR, LF or NUL, nothing was sent to the backend
C> -ERR [SYS/TEMP] Temporary authentication failure.
