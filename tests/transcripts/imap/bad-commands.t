# P11 P22: three in all; a good one between them does not forgive.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 SELECT INBOX
C> a1 BAD Error in IMAP command received by server.
C< a2 NOOP
C> a2 OK NOOP completed.
C< \r\n\c
C> * BAD Error in IMAP command received by server.
C< a3 NOOP
C> a3 OK NOOP completed.
C< a4 LOGIN john
C> * BYE Too many invalid IMAP commands.
log: I Disconnected: Too many invalid commands: rip=10.0.0.5, lip=10.0.0.1
C> !close
