# P08: lists within lists are BAD; elsewhere any list is.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 ID (("a") "b")
C> a1 BAD Invalid characters in atom
C< a2 LOGIN \((*4000)
C> a2 BAD Invalid characters in atom
C< a3 NOOP
C> a3 OK NOOP completed.
