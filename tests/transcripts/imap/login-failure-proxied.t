# A failure is never proxied (24): with proxy in it the client hears the plain failure.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john wrong
A> ask PLAIN \0john\0wrong
A< FAIL user=john proxy host=192.0.2.1 pass=master reason=text
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
