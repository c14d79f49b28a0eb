# C08: a master login by SASL PLAIN: the user is the authorization ID; at once with SASL-IR.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 master=master pass=secret
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN LOGINDISABLED] hello
B> $TAG AUTHENTICATE PLAIN am9obgBtYXN0ZXIAc2VjcmV0
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
