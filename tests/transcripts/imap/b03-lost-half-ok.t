# B03: a backend that goes away is a temporary failure, nothing is tried again.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG O\c
B< !lost end of file
log: E proxy(john): Remote 192.0.2.1:143 disconnected: end of file
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
