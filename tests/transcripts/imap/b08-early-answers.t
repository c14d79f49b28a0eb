# B08: success lines queued behind the banner; the tag is ours and was not told.
protocol: imap
split: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B< P OK logged in
B> $TAG LOGIN "john" "secret"
log: E imap-proxy(john): Remote answered before it was asked: P OK logged in
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
