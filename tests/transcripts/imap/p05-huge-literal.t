# P05: a literal over the limit gets no + and ends the connection.
protocol: imap
---
C> * OK Dovecot ready.
C< a LOGIN {400000000}
C> * BYE Literal size too large
log: I Disconnected: Literal size too large: rip=10.0.0.5, lip=10.0.0.1
C> !close
