# P14: after a failure it is ours, once.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C< PASS wrong
C< STAT
C< QUIT
C> +OK
A> ask PLAIN \0john\0wrong
A< FAIL user=john
C> -ERR [AUTH] Authentication failed.
C> -ERR Unknown command.
C> +OK Logging out
log: I Aborted login: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
