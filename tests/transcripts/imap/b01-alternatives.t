# B01: the addresses of the name and the other servers in turn; a source address where it can reach.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=a.example hostip=192.0.2.1,2001:db8::1 port=1143 pass=secret source_ip=192.0.2.9 proxy_alternatives=b.example/192.0.2.2/2143
B> !dial 192.0.2.1 1143 from 192.0.2.9
B< !lost Connection refused
log: W proxy(john): connect(192.0.2.1, 1143) failed: Connection refused, trying 2001:db8::1
B> !hang up
B> !dial 2001:db8::1 1143
B< !lost Network is unreachable
log: W proxy(john): connect(2001:db8::1, 1143) failed: Network is unreachable, trying 192.0.2.2
B> !hang up
B> !dial 192.0.2.2 2143 from 192.0.2.9
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to b.example(192.0.2.2):2143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
