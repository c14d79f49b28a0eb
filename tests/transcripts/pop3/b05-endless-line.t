# B05: a line without end.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +OK \(x*4093)\c
log: E pop3-proxy(john): Remote input buffer full
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
