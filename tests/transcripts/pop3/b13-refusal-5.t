# B13 B14: temporary stays temporary; one text for the client, the real one in the log.
protocol: pop3
verbose: yes
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
B< -ERR bad password
log: I proxy(john): Login failed to 192.0.2.1:110: -ERR bad password: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
B> !hang up
C> -ERR [AUTH] Authentication failed.
