# P14: what was sent ahead goes to the backend once.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C< PASS secret
C< STAT
C< LIS\c
C> +OK
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +OK hello
B> USER john
B< +OK
B> PASS secret
B< +OK in
log: I proxy(john): started proxying to 192.0.2.1:110: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> +OK in
B> STAT
B> LIS\c
