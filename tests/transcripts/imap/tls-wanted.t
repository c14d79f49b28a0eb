# T15: a passdb that asks for TLS to the backend does not get a password in the clear.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret ssl=yes
log: E proxy(john): field ssl asks for TLS to the backend, which is not supported
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret starttls=any-cert
log: E proxy(john): field starttls asks for TLS to the backend, which is not supported
C> a2 NO [UNAVAILABLE] Temporary authentication failure.
