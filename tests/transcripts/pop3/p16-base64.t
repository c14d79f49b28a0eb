# P16: bad base64 ends that attempt.
protocol: pop3
---
C> +OK Dovecot ready.
C< AUTH PLAIN AGpvaG4Ac2VjcmV
C> -ERR Invalid base64 data in response.
C< AUTH PLAIN
A> ask PLAIN
A< CONT
C> + \c
C> \r\n\c
C< \x21!!!
A> cancel
C> -ERR Invalid base64 data in response.
