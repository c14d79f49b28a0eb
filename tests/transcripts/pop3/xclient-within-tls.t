# C19: XCLIENT and AUTH within TLS.
protocol: pop3
sockets: no
session: S1
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 master=master pass=secret starttls=yes
B> !dial 192.0.2.1 110
B< +OK [XCLIENT] hello
B> STLS
B< +OK
B> !tls mail.example yes
B< !tls
B> XCLIENT ADDR=10.0.0.5 PORT=50000 DESTADDR=10.0.0.1 DESTPORT=143 SESSION=S1 TTL=4
B> AUTH PLAIN
B< +OK Updated
B< +
B> am9obgBtYXN0ZXIAc2VjcmV0
B< +OK in
log: I proxy(john): started proxying to mail.example(192.0.2.1):110: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> +OK in
