# B01: no reconnect without time for it, and a client who leaves ends the pause.
protocol: imap
sockets: no
max_reconnects: 9
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret proxy_timeout=1.5
B> !dial 192.0.2.1 143
B< !lost Connection refused
B> !hang up
time: 1
B> !dial 192.0.2.1 143
B< !lost Connection refused
log: E proxy(john): connect(192.0.2.1, 143) failed: Connection refused, after 1 reconnects
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< !lost Connection refused
B> !hang up
C< !eof
log: I Disconnected: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
