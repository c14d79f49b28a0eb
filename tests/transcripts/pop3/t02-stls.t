# T02: no capability list inside TLS for a CAPA that came in the clear behind STLS.
protocol: pop3
sockets: no
tls: available
disable_plaintext_auth: yes
---
C> +OK Dovecot ready.
C< CAPA
C> +OK
C> TOP
C> UIDL
C> RESP-CODES
C> PIPELINING
C> STLS
C> SASL
C> .
C< STLS
C< CAPA
C< CA\c
C> +OK Begin TLS negotiation now.
C> !tls
C< !tls
C< CAPA
C> +OK
C> TOP
C> UIDL
C> RESP-CODES
C> PIPELINING
C> USER
C> SASL PLAIN
C> .
C< !eof
log: I Disconnected: rip=10.0.0.5, lip=10.0.0.1, TLS
C> !close
