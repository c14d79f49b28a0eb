# P09: an odd number of words, and NIL for a key.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 ID ("k" "v" "x")
C> a1 BAD Invalid ID parameters
C< a2 ID (NIL "v")
C> a2 BAD Invalid ID parameters
C< a3 ID ("k" "\(v*1024)")
C> * ID NIL
C> a3 OK ID completed.
