# P07: the announced bytes are data whatever the verdict on the command.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 FOO {11+}
C< b1 LOGOUT\r\n\c
C<  x
C> a1 BAD Error in IMAP command received by server.
C< a2 NOOP {11}
C> + OK
C< b2 LOGOUT\r\n\c
C< \r\n\c
C> a2 BAD Error in IMAP command received by server.
C< a3 LOGOUT
C> * BYE Logging out
C> a3 OK Logout completed.
log: I Aborted login: rip=10.0.0.5, lip=10.0.0.1
C> !close
