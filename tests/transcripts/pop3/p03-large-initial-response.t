# P03: an initial response of 8192 bytes, and a line of the exchange.
protocol: pop3
---
C> +OK Dovecot ready.
C< AUTH PLAIN \(A*8192)
A> ask PLAIN \(\0*6144)
A< FAIL
C> -ERR [AUTH] Authentication failed.
C< auth plain
A> ask PLAIN
A< CONT
C> + \c
C> \r\n\c
C< \(A*8192)
A> answer \(\0*6144)
A< FAIL
C> -ERR [AUTH] Authentication failed.
