# A master login by SASL PLAIN over POP3 waits for +.
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
B< +\s
B> am9obgBtYXN0ZXIAc2VjcmV0
B< +OK in
log: I proxy(john): started proxying to 192.0.2.1:110: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> +OK in
