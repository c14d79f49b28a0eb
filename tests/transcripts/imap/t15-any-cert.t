# T15: any-cert; a banner without capabilities is no refusal, and LOGINDISABLED within TLS is one (C18).
protocol: imap
sockets: no
max_reconnects: 3
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=any-cert
B> !dial 192.0.2.1 143
B< * OK hello
B> $STARTTLS STARTTLS
B< $STARTTLS OK
B> !tls mail.example any-cert
B< !tls
B> $CAPABILITY CAPABILITY
B< * CAPABILITY IMAP4rev1 LOGINDISABLED
B< $CAPABILITY OK done
log: E imap-proxy(john): Remote advertises LOGINDISABLED, no password was sent
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
