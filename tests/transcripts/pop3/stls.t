# B2: without TLS STLS is refused and unadvertised; NOOP is unknown before login.
protocol: pop3
---
C> +OK Dovecot ready.
C< STLS
C> -ERR TLS support isn't enabled.
C< NOOP
C> -ERR Unknown command.
