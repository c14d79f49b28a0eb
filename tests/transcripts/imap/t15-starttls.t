# T15: STARTTLS; what the backend can do is asked again within TLS, and the login is as without.
protocol: imap
sockets: no
max_reconnects: 3
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hello
B> $STARTTLS STARTTLS
B< $STARTTLS OK go on
B> !tls mail.example yes
B< !tls
B> $CAPABILITY CAPABILITY
B< * CAPABILITY IMAP4rev1 AUTH=PLAIN
B< $CAPABILITY OK done
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to mail.example(192.0.2.1):143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
