# P13: LF ends a line, VT, FF, NEL, U+2028 and CR do not.
protocol: imap
---
C> * OK Dovecot ready.
C< a NOOP\n\c
C> a OK NOOP completed.
C< b NOOP\x0bb2 LOGOUT
C> b BAD Error in IMAP command received by server.
C< c NOOP\rc2 LOGOUT
C> c BAD Error in IMAP command received by server.
C< d NOOP
C> d OK NOOP completed.
