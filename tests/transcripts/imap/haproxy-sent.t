# A row with haproxy=yes: each server that is dialled is first told whose connection it is; no and nothing send none.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret haproxy=yes proxy_alternatives=192.0.2.2//
B> !dial 192.0.2.1 143
B> !header \r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x05\x0a\x00\x00\x01\xc3\x50\x00\x8f
B< !lost Connection refused
log: W proxy(john): connect(192.0.2.1, 143) failed: Connection refused, trying 192.0.2.2
B> !hang up
B> !dial 192.0.2.2 143
B> !header \r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x0a\x00\x00\x05\x0a\x00\x00\x01\xc3\x50\x00\x8f
B< !lost Connection refused
log: E proxy(john): connect(192.0.2.2, 143) failed: Connection refused
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret haproxy=Y
log: E proxy(john): field haproxy is neither yes nor no: Y
C> a2 NO [UNAVAILABLE] Temporary authentication failure.
C< a3 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret haproxy=no
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a3 OK in
