# 6.1 with login_greeting_capability; plaintext disabled.
protocol: imap
greeting_capability: yes
disable_plaintext_auth: yes
mechanisms: PLAIN CRAM-MD5
capability: IMAP4rev1 IDLE
---
C> * OK [CAPABILITY IMAP4rev1 IDLE LOGINDISABLED AUTH=CRAM-MD5] Dovecot ready.
C< a1 CAPABILITY
C> * CAPABILITY IMAP4rev1 IDLE LOGINDISABLED AUTH=CRAM-MD5
C> a1 OK Capability completed.
