# P10: a tag that is none is not echoed.
protocol: imap
---
C> * OK Dovecot ready.
C< \(t*5000) NOOP
C> * BAD Error in IMAP command received by server.
C< b NOOP
C> b OK NOOP completed.
