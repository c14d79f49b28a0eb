# P18: PASS first, USER twice, blanks in a password, none at all, a long verb.
protocol: pop3
---
C> +OK Dovecot ready.
C< PASS secret
C> -ERR No username given.
C< USER jane
C> +OK
C< USER john
C> +OK
C< PASS   a  b \s
A> ask PLAIN \0john\0\s\sa\s\sb\s\s
A< OK user=john proxy host=192.0.2.1 pass=\s\sa\s\sb\s\s
B> !dial 192.0.2.1 110
B< +OK hello
B> USER john
B< +OK
B> PASS   a  b \s
B< -ERR no
B> !hang up
C> -ERR [AUTH] Authentication failed.
C< USER john
C> +OK
C< PASS
A> ask PLAIN \0john\0
A< FAIL user=john
C> -ERR [AUTH] Authentication failed.
C< CAPABILITY
C> -ERR Unknown command.
