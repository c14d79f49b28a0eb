# B11 B16: token compare; other words are errors.
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
B< + go on
log: E pop3-proxy(john): Remote returned an unexpected reply: + go on
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
