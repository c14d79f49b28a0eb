# T03: a name from before STLS is forgotten.
protocol: pop3
sockets: no
tls: available
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< STLS
C> +OK Begin TLS negotiation now.
C> !tls
C< !tls
C< PASS secret
C> -ERR No username given.
C< USER jane
C> +OK
C< PASS secret
A> ask PLAIN \0jane\0secret
A< FAIL user=jane
C> -ERR [AUTH] Authentication failed.
