# T08: neither USER nor PASS nor AUTH PLAIN, before any lookup.
protocol: pop3
disable_plaintext_auth: yes
verbose: yes
mechanisms: PLAIN CRAM-MD5
---
C> +OK Dovecot ready.
C< CAPA
C> +OK
C> TOP
C> UIDL
C> RESP-CODES
C> PIPELINING
C> SASL CRAM-MD5
C> .
C< USER john
C> -ERR [AUTH] Plaintext authentication disallowed on non-secure connections.
C< PASS secret
C> -ERR [AUTH] Plaintext authentication disallowed on non-secure connections.
log: I Login failed: Plaintext authentication disabled: rip=10.0.0.5, lip=10.0.0.1
C< AUTH PLAIN
C> -ERR [AUTH] Plaintext authentication disabled.
log: I Authenticate PLAIN failed: Plaintext authentication disabled.: rip=10.0.0.5, lip=10.0.0.1
C< AUTH
C> +OK
C> CRAM-MD5
C> .
