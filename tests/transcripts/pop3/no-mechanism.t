# 7.2: the word SASL alone when nothing is offered.
protocol: pop3
disable_plaintext_auth: yes
---
C> +OK Dovecot ready.
C< CAPA
C> +OK
C> TOP
C> UIDL
C> RESP-CODES
C> PIPELINING
C> SASL
C> .
