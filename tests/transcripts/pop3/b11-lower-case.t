# B11: case-blind.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +ok hello
B> USER john
B< +Ok
B> PASS secret
B< +oK in
log: I proxy(john): started proxying to 192.0.2.1:110: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> +oK in
