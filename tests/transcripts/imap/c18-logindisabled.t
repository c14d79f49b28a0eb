# C18: a backend that advertises LOGINDISABLED gets no password.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello
log: E imap-proxy(john): Remote advertises LOGINDISABLED, no password was sent
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
