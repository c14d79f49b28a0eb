# B03: a POP3 backend that dies after USER has no password yet; after PASS nobody else is asked.
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
B< +OK
B> USER john
B< !lost connection closed
log: W proxy(john): Remote 192.0.2.1:110 disconnected: connection closed, trying 192.0.2.2
B> !hang up
B> !dial 192.0.2.2 110
B< +OK
B> USER john
B< +OK
B> PASS secret
B< !lost connection closed
log: E proxy(john): Remote 192.0.2.2:110 disconnected: connection closed
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
