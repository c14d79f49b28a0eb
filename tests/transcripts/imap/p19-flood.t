# P19: what is sent while auth works is neither read without end nor run twice.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john wrong
C< b1 NOOP \(x*4000)
C< b2 NOOP
C< c1 ID ("k" "\(v*1000)" "k" "\(v*1000)" "k" "\(v*1000)" "k" "\(v*1000)" "k" "\(v*1000)")
A> ask PLAIN \0john\0wrong
A< FAIL user=john
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C> b1 BAD Error in IMAP command received by server.
C> b2 OK NOOP completed.
C> * ID NIL
C> c1 OK ID completed.
