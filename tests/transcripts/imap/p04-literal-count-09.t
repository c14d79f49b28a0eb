# P04: a malformed count is BAD, has no +, and the next line is a command.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN {4294967296}
C> a1 BAD Invalid literal size
C< b NOOP
C> b OK NOOP completed.
