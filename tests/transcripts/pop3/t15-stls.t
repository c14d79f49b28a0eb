# T15: STLS, then the login as without.
protocol: pop3
sockets: no
max_reconnects: 3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 110
B< +OK hello
B> STLS
B< +OK go on
B> !tls mail.example yes
B< !tls
B> USER john
B< +OK
B> PASS secret
B< +OK in
log: I proxy(john): started proxying to mail.example(192.0.2.1):110: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> +OK in
