# P14: lines behind an initial response are held back, and are the backend's.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE PLAIN AGpvaG4Ac2VjcmV0
C< a2 LIST
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
B> a2 LIST
