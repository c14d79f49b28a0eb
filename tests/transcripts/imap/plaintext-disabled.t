# T08: plaintext is refused before any lookup, as 40 of the list words it.
protocol: imap
disable_plaintext_auth: yes
verbose: yes
mechanisms: PLAIN CRAM-MD5
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
C> * BAD [ALERT] Plaintext authentication is disabled, but your client sent password in plaintext anyway. If anyone was listening, the password was exposed.
C> a1 NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure connections.
log: I Login failed: Plaintext authentication disabled: rip=10.0.0.5, lip=10.0.0.1
C< a2 AUTHENTICATE plain AGpvaG4Ac2VjcmV0
C> a2 NO [PRIVACYREQUIRED] Plaintext authentication disabled.
log: I Authenticate PLAIN failed: Plaintext authentication disabled.: rip=10.0.0.5, lip=10.0.0.1
C< a3 AUTHENTICATE CRAM-MD5
A> ask CRAM-MD5
A< FAIL
C> a3 NO [AUTHENTICATIONFAILED] Authentication failed.
