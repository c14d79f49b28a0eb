# B01: a backend that refuses; the client may try again.
protocol: pop3
sockets: no
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< !lost Connection refused
log: E proxy(john): connect(192.0.2.1, 110) failed: Connection refused
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< QUIT
C> +OK Logging out
log: I Aborted login: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
