# T09: STARTTLS with arguments, and inside TLS, is BAD; the session goes on.
protocol: imap
sockets: no
tls: available
capability: IMAP4rev1
---
C> * OK Dovecot ready.
C< a1 STARTTLS now
C> a1 BAD Error in IMAP command received by server.
C< a2 STARTTLS
C> a2 OK Begin TLS negotiation now.
C> !tls
C< !tls
C< a3 STARTTLS
C> a3 BAD TLS is already active.
C< a4 NOOP
C> a4 OK NOOP completed.
