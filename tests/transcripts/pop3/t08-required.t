# T08: ssl = required: neither USER nor SASL before TLS, and nobody is asked.
protocol: pop3
sockets: no
tls: required
secured: yes
mechanisms: PLAIN APOP
apop: <1@h>
---
C> +OK Dovecot ready. <1@h>
C< CAPA
C> +OK
C> TOP
C> UIDL
C> RESP-CODES
C> PIPELINING
C> STLS
C> .
C< USER john
C> -ERR [AUTH] Plaintext authentication disallowed on non-secure connections.
C< PASS secret
C> -ERR [AUTH] Plaintext authentication disallowed on non-secure connections.
C< AUTH
C> +OK
C> .
C< AUTH PLAIN AGpvaG4Ac2VjcmV0
C> -ERR [AUTH] Authentication not allowed until SSL/TLS is enabled.
C< APOP john \(0*32)
C> -ERR [AUTH] Authentication not allowed until SSL/TLS is enabled.
C< STLS
C> +OK Begin TLS negotiation now.
C> !tls
C< !tls
C< AUTH PLAIN AGpvaG4Ac2VjcmV0
A> ask PLAIN \0john\0secret
A< FAIL user=john
C> -ERR [AUTH] Authentication failed.
