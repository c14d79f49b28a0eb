# B03: a backend that goes away is a temporary failure.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +OK hello
B> USER john
B< +OK
B> PASS secret
B< !lost Connection reset by peer
log: E proxy(john): Remote 192.0.2.1:110 disconnected: Connection reset by peer
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
