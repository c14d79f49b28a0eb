# B10: what the backend sent behind its OK reaches the client.
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
B> USER john
B< +OK
B> PASS secret
B< +OK in
B< +OK 3 120
B< 1\c
log: I proxy(john): started proxying to 192.0.2.1:110: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> +OK in
C> +OK 3 120
C> 1\c
