# P20: leaving while auth works cancels the request.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
C< !eof
A> cancel
log: I Disconnected: method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
