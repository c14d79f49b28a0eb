# B12: it is asked for, nothing is invented, and nothing unprintable passed on.
protocol: imap
capability: X
sockets: no
---
C> * OK Dovecot ready.
C< a0 CAPABILITY
C> * CAPABILITY X AUTH=PLAIN
C> a0 OK Capability completed.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $CAPABILITY CAPABILITY
B< $CAPABILITY BAD what?
B> $TAG LOGIN "john" "secret"
B< * CAPABILITY IMAP4rev1\ra1 OK fake
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
