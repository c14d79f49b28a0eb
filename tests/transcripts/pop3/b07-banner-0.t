# B04 B07: a banner that is none: no password, temporary.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< -ERR busy
log: E pop3-proxy(john): Remote returned invalid banner: -ERR busy
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
