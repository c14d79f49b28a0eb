# T09: STLS with arguments and inside TLS.
protocol: pop3
sockets: no
tls: available
---
C> +OK Dovecot ready.
C< STLS now
C> -ERR Invalid parameters.
C< STLS
C> +OK Begin TLS negotiation now.
C> !tls
C< !tls
C< STLS
C> -ERR TLS is already active.
C< USER john
C> +OK
