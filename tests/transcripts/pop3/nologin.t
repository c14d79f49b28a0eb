# nologin: its reason; host is ignored, POP3 knows no referral.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john nologin host=192.0.2.1 reason=Not\shere
C> -ERR [AUTH] Not here
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john nologin
C> -ERR [AUTH] Authentication failed.
