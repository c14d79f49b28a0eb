# Shutting down tells the client; the request is cancelled.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
end: Shutting down
C> * BYE Shutting down.
A> cancel
log: I Disconnected: Shutting down: method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
