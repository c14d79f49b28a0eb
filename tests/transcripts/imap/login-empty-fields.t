# Empty destuser and port count as absent.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy= host=2001:db8::1 port= destuser= pass=secret
B> !dial 2001:db8::1 143
B< * OK
B> $TAG LOGIN "john" "secret"
B< $TAG OK
log: I proxy(john): started proxying to 2001:db8::1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK
