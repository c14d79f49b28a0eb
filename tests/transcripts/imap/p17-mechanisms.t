# P17: unknown, private, over-long and empty names; nothing reaches auth, the log shows a cut name.
protocol: imap
verbose: yes
mechanisms: PLAIN APOP
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE NTLM
C> a1 NO Unsupported authentication mechanism.
log: I Authenticate NTLM failed: Unsupported authentication mechanism.: rip=10.0.0.5, lip=10.0.0.1
C< a2 AUTHENTICATE \(x*300)
C> a2 NO Unsupported authentication mechanism.
log: I Authenticate XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX... failed: Unsupported authentication mechanism.: rip=10.0.0.5, lip=10.0.0.1
C< a3 AUTHENTICATE APOP
C> a3 NO Unsupported authentication mechanism.
log: I Authenticate APOP failed: Unsupported authentication mechanism.: rip=10.0.0.5, lip=10.0.0.1
C< a4 AUTHENTICATE ""
C> a4 BAD Error in IMAP command received by server.
C< a5 AUTHENTICATE PLAIN  \s
A> ask PLAIN
A< FAIL
C> a5 NO [AUTHENTICATIONFAILED] Authentication failed.
