# C19: XCLIENT of a trusted proxy, whose banner says that it is taken; unknown words are ignored, nonsense is not.
protocol: pop3
sockets: no
tls: available
trusted: 10.0.0.0/24
session: OWN
capability: TOP
disable_plaintext_auth: yes
elements: user=<%u> rip=%r rport=%b lip=%l lport=%a %c session=<%{session}>
---
C> +OK [XCLIENT] Dovecot ready.
C< XCLIENT ADDR=192.0.2.77 PORT=x
C> -ERR Invalid parameters.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< XCLIENT ADDR=192.0.2.77 PORT=4711 SESSION=FRONT-1 TTL=4 FORWARD=x NEW
C> +OK Updated
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +OK [XCLIENT] hello
B> XCLIENT ADDR=192.0.2.77 PORT=4711 DESTADDR=10.0.0.1 DESTPORT=143 SESSION=FRONT-1 TTL=3
B> USER john
B< +OK Updated
B< +OK
B> PASS secret
B< +OK in
log: I proxy(john): started proxying to 192.0.2.1:110: user=<john>, rip=192.0.2.77, rport=4711, lip=10.0.0.1, lport=143, secured, session=<FRONT-1>
C> !detach john
C> +OK in
