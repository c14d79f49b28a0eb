# C19 T15: who the client is goes through TLS only, and the backend has to list ID there.
protocol: imap
sockets: no
session: S1
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 ID STARTTLS] hello
B> $STARTTLS STARTTLS
B< $STARTTLS OK go on
B> !tls mail.example yes
B< !tls
B> $CAPABILITY CAPABILITY
B< * CAPABILITY IMAP4rev1 ID
B< $CAPABILITY OK
B> $TAGI ID ("x-session-id" "S1" "x-originating-ip" "10.0.0.5" "x-originating-port" "50000" "x-connected-ip" "10.0.0.1" "x-connected-port" "143" "x-proxy-ttl" "4")
B> $TAG LOGIN "john" "secret"
B< $TAGI OK
B< $TAG OK in
log: I proxy(john): started proxying to mail.example(192.0.2.1):143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
