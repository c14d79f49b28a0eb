# A wrong password, then another try and the end.
protocol: pop3
---
C> +OK Dovecot ready.
C< user john
C> +OK
C< pass wrong
A> ask PLAIN \0john\0wrong
A< FAIL user=john
C> -ERR [AUTH] Authentication failed.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< FAIL user=john temp
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< QUIT
C> +OK Logging out
log: I Aborted login: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
