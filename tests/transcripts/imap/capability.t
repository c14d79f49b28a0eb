# 6.2: AUTH= by rule, private mechanisms hidden, arguments refused.
protocol: imap
mechanisms: PLAIN CRAM-MD5 APOP
---
C> * OK Dovecot ready.
C< a1 capability
C> * CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN AUTH=CRAM-MD5
C> a1 OK Capability completed.
C< a2 CAPABILITY x
C> a2 BAD Error in IMAP command received by server.
C< a3 NOOP
C> a3 OK NOOP completed.
