# CAPA: what is fixed, USER by rule, SASL; and AUTH alone.
protocol: pop3
mechanisms: PLAIN CRAM-MD5 APOP
---
C> +OK Dovecot ready.
C< capa
C> +OK
C> TOP
C> UIDL
C> RESP-CODES
C> PIPELINING
C> USER
C> SASL PLAIN CRAM-MD5
C> .
C< AUTH
C> +OK
C> PLAIN
C> CRAM-MD5
C> .
