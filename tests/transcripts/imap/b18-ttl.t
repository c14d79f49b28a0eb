# B18: a login that has passed all the hops it may is not passed on; a client may not raise the number.
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
C< a1 ID ("x-proxy-ttl" "1")
C> * ID NIL
C> a1 OK ID completed.
C< a2 ID ("x-proxy-ttl" "99")
C> * ID NIL
C> a2 OK ID completed.
C< a3 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
log: E proxy(john): proxies loop: x-proxy-ttl has come to its end
C> a3 NO [UNAVAILABLE] Temporary authentication failure.
