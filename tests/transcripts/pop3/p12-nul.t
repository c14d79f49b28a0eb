# P12: NUL makes a line bad, never shorter.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER jo\0hn
C> -ERR Invalid characters in command.
C< USER john
C> +OK
C< PASS sec\0ret
C> -ERR Invalid characters in command.
C< PASS secret
A> ask PLAIN \0john\0secret
A< FAIL user=john
C> -ERR [AUTH] Authentication failed.
