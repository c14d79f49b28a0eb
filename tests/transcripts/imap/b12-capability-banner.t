# B12: a client who had asked is told the backend's capability, as its banner had it.
protocol: imap
capability: X
---
C> * OK Dovecot ready.
C< a0 CAPABILITY
C> * CAPABILITY X AUTH=PLAIN
C> a0 OK Capability completed.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 IDLE] hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> * CAPABILITY IMAP4rev1 IDLE
C> a1 OK in
