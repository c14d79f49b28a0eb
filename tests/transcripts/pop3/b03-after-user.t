# B03: a backend that closes at once is as good as none; after one has spoken nobody else is asked.
protocol: pop3
sockets: no
max_reconnects: 3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=a.example hostip=192.0.2.1,192.0.2.2 pass=secret
B> !dial 192.0.2.1 110
B< !lost connection closed
log: W proxy(john): connect(192.0.2.1, 110) failed: connection closed, trying 192.0.2.2
B> !hang up
B> !dial 192.0.2.2 110
B< +OK
B> USER john
B< !lost connection closed
log: E proxy(john): Remote 192.0.2.2:110 disconnected: connection closed
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
