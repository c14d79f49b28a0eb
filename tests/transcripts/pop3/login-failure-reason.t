# reason and the codes of Dovecot 2 are all [AUTH].
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< FAIL user=john reason=No\smail
C> -ERR [AUTH] No mail
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< FAIL user=john code=pass_expired
C> -ERR [AUTH] Password expired.
