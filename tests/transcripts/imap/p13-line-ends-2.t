# P13: CRCRLF, U+2028.
protocol: imap
---
C> * OK Dovecot ready.
C< a NOOP\r
C> a BAD Error in IMAP command received by server.
C< b NOOP\xe2\x80\xa8c LOGOUT
C> b BAD Error in IMAP command received by server.
C< d NOOP
C> d OK NOOP completed.
