# T15: a handshake that fails after STARTTLS is not tried again.
protocol: imap
sockets: no
max_reconnects: 3
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 143
B< * OK hello
B> $STARTTLS STARTTLS
B< $STARTTLS OK go on
B> !tls mail.example yes
B< !lost the certificate is not accepted: expired
log: E proxy(john): Remote 192.0.2.1:143 disconnected: the certificate is not accepted: expired
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
