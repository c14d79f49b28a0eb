# C06: 8-bit bytes reach auth and backend as they are, never in a quoted string.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN "j\xf6hn" "\xc3\xa4\xff"
A> ask PLAIN \0j\xf6hn\0\xc3\xa4\xff
A< OK user=j\xf6hn proxy host=192.0.2.1 pass=\xc3\xa4\xff
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN {4}
B< + go on
B> j\xf6hn {3}
B< +
B> \xc3\xa4\xff
B< $TAG OK in
log: I proxy(j\xf6hn): started proxying to 192.0.2.1:143: user=<j\xf6hn>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach j\xf6hn
C> a1 OK in
