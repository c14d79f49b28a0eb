# B01: a silent address gets its share of the time, the one deadline stays.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=a.example hostip=192.0.2.1,192.0.2.2 pass=secret proxy_timeout=8
B> !dial 192.0.2.1 143
time: 3.9
time: 4
log: W proxy(john): connect(192.0.2.1, 143) failed: timed out after 4 s, trying 192.0.2.2
B> !hang up
B> !dial 192.0.2.2 143
B< *\c
time: 7.9
time: 8
log: E proxy(john): Remote 192.0.2.2:143 disconnected: timed out after 8 s
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
