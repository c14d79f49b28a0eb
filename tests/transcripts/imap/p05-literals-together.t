# P05: the literals of one command count together.
protocol: imap
---
C> * OK Dovecot ready.
C< a LOGIN {8000+}
C< \(x*8000) {193+}
C> * BYE Literal size too large
log: I Disconnected: Literal size too large: rip=10.0.0.5, lip=10.0.0.1
C> !close
