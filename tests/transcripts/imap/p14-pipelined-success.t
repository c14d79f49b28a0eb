# P14: what the client sent ahead goes to the backend once, in order.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
C< a2 SELECT INBOX
C< a3 FET\c
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
B> a2 SELECT INBOX
B> a3 FET\c
