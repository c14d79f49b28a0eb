# A wrong password; the client may try again; user= stands in the log then.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john wrong
A> ask PLAIN \0john\0wrong
A< FAIL user=john
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a2 LOGOUT
C> * BYE Logging out
C> a2 OK Logout completed.
log: I Aborted login: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
