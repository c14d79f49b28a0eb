# APOP without the mechanism.
protocol: pop3
---
C> +OK Dovecot ready.
C< APOP john 0123456789abcdef0123456789abcdef
C> -ERR APOP not enabled.
