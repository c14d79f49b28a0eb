# B08: replies queued behind the banner answer nothing; the password is not sent.
protocol: pop3
split: no
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +OK hello
B< +OK
B< +OK
B> USER john
log: E pop3-proxy(john): Remote answered before it was asked: +OK
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
