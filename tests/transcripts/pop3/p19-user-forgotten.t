# 7.2: PASS uses the name once.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS x
A> ask PLAIN \0john\0x
A< FAIL user=john
C> -ERR [AUTH] Authentication failed.
C< PASS x
C> -ERR No username given.
