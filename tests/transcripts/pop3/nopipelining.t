# proxy_nopipelining: USER waits for the answer to XCLIENT.
protocol: pop3
sockets: no
session: S1
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy proxy_nopipelining host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +OK [XCLIENT] hello
B> XCLIENT ADDR=10.0.0.5 PORT=50000 DESTADDR=10.0.0.1 DESTPORT=143 SESSION=S1 TTL=4
B< +OK Updated
B> USER john
B< +OK
B> PASS secret
B< +OK in
log: I proxy(john): started proxying to 192.0.2.1:110: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> +OK in
