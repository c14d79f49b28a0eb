# T03: what a proxy claimed in the clear is forgotten with TLS; within it he may say it again.
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
C< a1 ID ("x-originating-ip" "192.0.2.66" "x-proxy-ttl" "1" "x-session-id" "EVIL")
C> * ID NIL
C> a1 OK ID completed.
C< a2 STARTTLS
C> a2 OK Begin TLS negotiation now.
C> !tls
C< !tls
C< a3 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, rip=10.0.0.5, rport=50000, lip=10.0.0.1, lport=143, TLS, session=<OWN>
C> !detach john
C> a3 OK in
