# T14: bytes in the clear that arrive while the handshake runs.
protocol: imap
sockets: no
max_reconnects: 3
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 143
B< * OK
B> $STARTTLS STARTTLS
B< $STARTTLS OK go on
B> !tls mail.example yes
B< L\c
log: E imap-proxy(john): Remote sent data in the clear after its OK to TLS
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
