# B03: after the password was sent there is no other try, nor after it was refused.
protocol: imap
sockets: no
max_reconnects: 3
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=a.example hostip=192.0.2.1,192.0.2.2 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< !lost connection closed
log: E proxy(john): Remote 192.0.2.1:143 disconnected: connection closed
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=a.example hostip=192.0.2.1,192.0.2.2 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG NO [UNAVAILABLE] later
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
