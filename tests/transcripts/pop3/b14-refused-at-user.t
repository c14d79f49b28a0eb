# B14: a backend that refuses the name gets no password, the client hears the same.
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
B< -ERR no such user
B> !hang up
C> -ERR [AUTH] Authentication failed.
