# C07: LITERAL- bounds them at 4096; a longer one waits for +.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john {4097}
C> + OK
C< \("*4097)

A> ask PLAIN \0john\0\("*4097)
A< OK user=john proxy host=192.0.2.1 pass=\("*4097)
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 LITERAL-] hello
B> $TAG LOGIN "john" {4097}
B< + OK
B> \("*4097)
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
