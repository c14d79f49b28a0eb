# C07: with LITERAL+ in the banner up to 4096 bytes go without waiting.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john {3+}
C< a"b
A> ask PLAIN \0john\0a"b
A< OK user=john proxy host=192.0.2.1 pass=a"b
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 literal+] hello
B> $TAG LOGIN "john" {3+}
B> a"b
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
