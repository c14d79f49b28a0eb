# T01: what comes behind STARTTLS before the handshake is dropped, in one piece or byte by byte.
protocol: imap
sockets: no
tls: available
disable_plaintext_auth: yes
capability: IMAP4rev1
elements: user=<%u> method=%m %c %k
---
C> * OK Dovecot ready.
C< a1 CAPABILITY
C> * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED
C> a1 OK Capability completed.
C< a2 STARTTLS
C< a3 LOGIN john secret
C< a4 NO\c
C> a2 OK Begin TLS negotiation now.
C> !tls
C< OP
C< a5 NOOP
C< !tls
C< a6 CAPABILITY
C> * CAPABILITY IMAP4rev1 AUTH=PLAIN
C> a6 OK Capability completed.
C< a7 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 X] hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, TLS, TLSv1.3 with cipher X
C> !detach john
C> * CAPABILITY IMAP4rev1 X
C> a7 OK in
