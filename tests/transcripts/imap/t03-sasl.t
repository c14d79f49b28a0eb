# T03: within SASL the word STARTTLS is a response, and no base64.
protocol: imap
sockets: no
tls: available
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE PLAIN
A> ask PLAIN
A< CONT
C> +\s
C< a2 STARTTLS
A> cancel
C> a1 BAD Invalid base64 data in response.
C< a3 STARTTLS
C> a3 OK Begin TLS negotiation now.
C> !tls
C< !tls
C< AGpvaG4Ac2VjcmV0
C> AGpvaG4Ac2VjcmV0 BAD Error in IMAP command received by server.
