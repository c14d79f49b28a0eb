# 34: LOGIN needs PLAIN among the mechanisms.
protocol: imap
mechanisms: CRAM-MD5
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
C> a1 NO Unsupported authentication mechanism.
