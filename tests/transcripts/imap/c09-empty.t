# C09: empty and blank values go to auth as they are, auth decides; an empty pass is none.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN "" x
A> ask PLAIN \0\0x
A< FAIL
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a2 LOGIN john ""
A> ask PLAIN \0john\0
A< OK user=john proxy host=192.0.2.1 pass=
log: E proxy(john): password not given
C> a2 NO [UNAVAILABLE] Temporary authentication failure.
C< a3 LOGIN " " "  "
A> ask PLAIN \0\s\0\s\s
A< FAIL user=\s
C> a3 NO [AUTHENTICATIONFAILED] Authentication failed.
