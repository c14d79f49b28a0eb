# C10: a long password is used whole.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john \(p*4096)
A> ask PLAIN \0john\0\(p*4096)
A< OK user=john proxy host=192.0.2.1 pass=\(p*4096)
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "\(p*4096)"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
