# B16 B08: a + that came with the banner asks for nothing.
protocol: imap
split: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john "a\\"b"
A> ask PLAIN \0john\0a"b
A< OK user=john proxy host=192.0.2.1 pass=a"b
B> !dial 192.0.2.1 143
B< * OK hello
B< + go on
B> $TAG LOGIN "john" {3}
log: E imap-proxy(john): Remote answered before it was asked: + go on
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
