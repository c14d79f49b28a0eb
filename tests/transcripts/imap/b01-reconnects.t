# B01: reconnects a second apart, three at most; a backend that is back is used.
protocol: imap
sockets: no
max_reconnects: 2
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< !lost Connection refused
B> !hang up
time: 0.9
time: 1
B> !dial 192.0.2.1 143
B< !lost connection closed
B> !hang up
time: 2
B> !dial 192.0.2.1 143
B< !lost Connection refused
log: E proxy(john): connect(192.0.2.1, 143) failed: Connection refused, after 2 reconnects
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< !lost Connection refused
B> !hang up
time: 3
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
