# P12: NUL is BAD in a quoted string, an atom, a literal; never a shorter string.
protocol: imap
---
C> * OK Dovecot ready.
C< a LOGIN "jo\0hn" secret
C> a BAD Missing '"'
C< b LOGIN {5+}
C< jo\0hn secret
C> b BAD Error in IMAP command received by server.
C< c LOGIN jo\0hn secret
C> * BYE Too many invalid IMAP commands.
log: I Disconnected: Too many invalid commands: rip=10.0.0.5, lip=10.0.0.1
C> !close
