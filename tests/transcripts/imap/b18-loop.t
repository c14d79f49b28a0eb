# B18: our own address and port.
protocol: imap
sockets: no
own: 192.0.2.1 143
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
log: E proxy(john): proxying loops: 192.0.2.1:143 is this very server
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy proxy_maybe host=192.0.2.1 pass=secret
log: E proxy(john): proxy_maybe: 192.0.2.1:143 is this very server, which has no local mail storage
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy proxy_maybe host=192.0.2.2 pass=secret
B> !dial 192.0.2.2 143
C< !eof
B> !hang up
log: I Disconnected: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
