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
B< SSH-2.0-x\x1b
log: E pop3-proxy(john): Remote returned invalid banner: SSH-2.0-x\x1b
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
