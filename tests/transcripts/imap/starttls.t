# B2: without TLS STARTTLS is BAD and unadvertised.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 STARTTLS
C> a1 BAD TLS support isn't enabled.
C< a2 NOOP
C> a2 OK NOOP completed.
