# P09: 30 pairs are taken, 31 are BAD; a value of 1025 bytes and a NIL key too.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 ID ("k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v")
C> * ID NIL
C> a1 OK ID completed.
C< a2 ID ("k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v" "k" "v")
C> a2 BAD Invalid ID parameters
C< a3 ID ("k" "\(v*1025)")
C> a3 BAD Invalid ID parameters
C< a4 NOOP
C> a4 OK NOOP completed.
