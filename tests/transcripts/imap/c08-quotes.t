# C08: quote and backslash arrive as the same bytes, in a literal that waits.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN "jo\\\\hn" "se\\"cret"
A> ask PLAIN \0jo\\hn\0se"cret
A< OK user=jo\\hn proxy host=192.0.2.1 pass=se"cret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN {5}
B< + OK
B> jo\\hn {7}
B< + OK
B> se"cret
B< $TAG OK in
log: I proxy(jo\hn): started proxying to 192.0.2.1:143: user=<jo\hn>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach jo\hn
C> a1 OK in
