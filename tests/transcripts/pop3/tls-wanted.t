# T15: POP3 within TLS from the start.
protocol: pop3
sockets: no
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret ssl=yes
B> !dial 192.0.2.1 995 192.0.2.1 yes
B< +OK hello
B> USER john
B< +OK
B> PASS secret
B< +OK in
log: I proxy(john): started proxying to 192.0.2.1:995: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> +OK in
