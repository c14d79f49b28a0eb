# B11: token compare; other tags and words are errors.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< OK in
log: E imap-proxy(john): Remote returned an unexpected reply: OK in
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
