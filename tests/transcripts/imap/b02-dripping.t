# B02: one deadline over connect and login, however the bytes drip.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
time: 20
B< * OK he\c
time: 29
B< llo\c
time: 30
log: E proxy(john): Remote 192.0.2.1:143 disconnected: timed out after 30 s
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
