# A23: no host, a name for a host, ports that are none; no password; nothing is dialled.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy pass=secret
log: E proxy(john): host not given
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example pass=secret
log: E proxy(john): mail.example is not a valid IP
C> a2 NO [UNAVAILABLE] Temporary authentication failure.
C< a3 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 port=143x pass=secret
log: E proxy(john): port 143x is not a number from 1 to 65535
C> a3 NO [UNAVAILABLE] Temporary authentication failure.
C< a4 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 port=70000 pass=secret
log: E proxy(john): port 70000 is not a number from 1 to 65535
C> a4 NO [UNAVAILABLE] Temporary authentication failure.
C< a5 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 port=0 pass=secret
log: E proxy(john): port 0 is not a number from 1 to 65535
C> a5 NO [UNAVAILABLE] Temporary authentication failure.
C< a6 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 port=-1 pass=secret
log: E proxy(john): port -1 is not a number from 1 to 65535
C> a6 NO [UNAVAILABLE] Temporary authentication failure.
C< a7 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1
log: E proxy(john): password not given
C> a7 NO [UNAVAILABLE] Temporary authentication failure.
