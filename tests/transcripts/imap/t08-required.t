# T08: ssl = required: no login without TLS, not even from this host or by a safe mechanism; nobody is asked.
protocol: imap
sockets: no
tls: required
secured: yes
mechanisms: CRAM-MD5 PLAIN
capability: IMAP4rev1
---
C> * OK Dovecot ready.
C< a1 CAPABILITY
C> * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED
C> a1 OK Capability completed.
C< a2 AUTHENTICATE CRAM-MD5
C> a2 NO [PRIVACYREQUIRED] Authentication not allowed until SSL/TLS is enabled.
C< a3 AUTHENTICATE PLAIN AGpvaG4Ac2VjcmV0
C> a3 NO [PRIVACYREQUIRED] Authentication not allowed until SSL/TLS is enabled.
C< a4 LOGIN john secret
C> * BAD [ALERT] Plaintext authentication is disabled, but your client sent password in plaintext anyway. If anyone was listening, the password was exposed.
C> a4 NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure connections.
C< a5 STARTTLS
C> a5 OK Begin TLS negotiation now.
C> !tls
C< !tls
C< a6 AUTHENTICATE PLAIN AGpvaG4Ac2VjcmV0
A> ask PLAIN \0john\0secret
A< FAIL user=john
C> a6 NO [AUTHENTICATIONFAILED] Authentication failed.
