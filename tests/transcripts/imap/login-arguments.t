# 6.3: LOGIN takes exactly two strings; NIL is none.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN NIL secret
C> a1 BAD Error in IMAP command received by server.
C< a2 LOGIN john secret x
C> a2 BAD Error in IMAP command received by server.
C< a3 LOGIN john "nil"
A> ask PLAIN \0john\0nil
A< FAIL user=john
C> a3 NO [AUTHENTICATIONFAILED] Authentication failed.
