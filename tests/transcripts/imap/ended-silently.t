# Dovecot's own way: without a word.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
end silently: Shutting down
B> !hang up
log: I Disconnected: Shutting down: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
