# T15: the certificate has to name the host; it is refused, and nobody else is tried; any-cert takes any.
protocol: imap
sockets: no
max_reconnects: 3
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1,192.0.2.2 pass=secret ssl=yes
B> !dial 192.0.2.1 993 mail.example yes
B< !rejected the certificate is not accepted: Hostname mismatch
log: E proxy(john): connect(192.0.2.1, 993) failed: the certificate is not accepted: Hostname mismatch
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret ssl=any-cert port=1993
B> !dial 192.0.2.1 1993 192.0.2.1 any-cert
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:1993: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a2 OK in
