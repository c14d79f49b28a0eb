# proxy_not_trusted: a backend that would listen is told nothing; nor is its tag for ID one that it may use.
protocol: imap
sockets: no
session: S1
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy proxy_not_trusted host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 ID] hello
B> $TAG LOGIN "john" "secret"
B< $TAGI OK
log: E imap-proxy(john): Remote returned an unexpected reply: TAG7XI OK
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
