# C07: a backend that does not answer a literal with + gets no password.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john "a\\\\\\"b"
A> ask PLAIN \0john\0a\\"b
A< OK user=john proxy host=192.0.2.1 pass=a\\"b
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" {4}
B< $TAG BAD no literals
log: E imap-proxy(john): Remote refused a literal: BAD no literals
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
