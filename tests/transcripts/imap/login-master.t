# destuser and pass from the passdb; a port; an empty field is absent.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 login "john" "x"
A> ask PLAIN \0john\0x
A< OK user=john proxy host=192.0.2.9 port=1143 destuser=john*proxy pass=master\sword
B> !dial 192.0.2.9 1143
B< * OK hello
B> $TAG LOGIN "john*proxy" "master word"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.9:1143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
