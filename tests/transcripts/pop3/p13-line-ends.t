# P13: LF ends a line; CR within one makes it bad; VT and NEL are data.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john\n\c
C> +OK
C< QUIT\x0bQUIT
C> -ERR Unknown command.
C< PASS x\rQUIT
C> -ERR Invalid characters in command.
C< PASS a\x0b\xc2\x85b
A> ask PLAIN \0john\0a\x0b\xc2\x85b
A< FAIL user=john
C> -ERR [AUTH] Authentication failed.
