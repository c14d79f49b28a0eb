# B16 B17: a mechanism that is not known, a challenge too many, an OK too early, a wrong password.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 master=master pass=secret
B> !dial 192.0.2.1 110
B< +OK hello
B> AUTH PLAIN
B< -ERR what
log: E pop3-proxy(john): Remote refused PLAIN, no password was sent: -ERR what
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 master=master pass=secret
B> !dial 192.0.2.1 110
B< +OK hello
B> AUTH PLAIN
B< +OK welcome
log: E pop3-proxy(john): Remote refused PLAIN, no password was sent: +OK welcome
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 master=master pass=secret
B> !dial 192.0.2.1 110
B< +OK hello
B> AUTH PLAIN
B< +
B> am9obgBtYXN0ZXIAc2VjcmV0
B< +\s
log: E pop3-proxy(john): Remote asked to continue a complete command
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 master=master pass=secret
B> !dial 192.0.2.1 110
B< +OK hello
B> AUTH PLAIN
B< +
B> am9obgBtYXN0ZXIAc2VjcmV0
B< -ERR [AUTH] wrong
B> !hang up
C> -ERR [AUTH] Authentication failed.
