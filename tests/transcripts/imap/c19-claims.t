# C19: a trusted proxy counts as secured, is told that ID is taken, and says for whom he speaks; B18: one hop less.
protocol: imap
sockets: no
tls: available
trusted: 10.0.0.0/24
session: OWN
capability: X ID
disable_plaintext_auth: yes
elements: user=<%u> rip=%r rport=%b lip=%l lport=%a %c session=<%{session}>
---
C> * OK [CAPABILITY X ID STARTTLS AUTH=PLAIN] Dovecot ready.
C< a1 ID ("x-session-id" "FRONT-1" "X-Originating-IP" "2001:DB8::5" "x-originating-port" "4711" "x-connected-ip" "192.0.2.80" "x-connected-port" "993" "x-proxy-ttl" "3" "x-forward-x" "y" "name" NIL)
C> * ID NIL
C> a1 OK ID completed.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY X ID] hello
B> $TAGI ID ("x-session-id" "FRONT-1" "x-originating-ip" "2001:db8::5" "x-originating-port" "4711" "x-connected-ip" "192.0.2.80" "x-connected-port" "993" "x-proxy-ttl" "2")
B> $TAG LOGIN "john" "secret"
B< $TAGI OK
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, rip=2001:db8::5, rport=4711, lip=192.0.2.80, lport=993, secured, session=<FRONT-1>
C> !detach john
C> a2 OK in
