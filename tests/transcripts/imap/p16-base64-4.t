# P16: bad base64 ends that attempt, before anyone else sees it.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE PLAIN
A> ask PLAIN
A< CONT
C> + \c
C> \r\n\c
C< AGpvaG4A_-==
A> cancel
C> a1 BAD Invalid base64 data in response.
C< a2 NOOP
C> a2 OK NOOP completed.
