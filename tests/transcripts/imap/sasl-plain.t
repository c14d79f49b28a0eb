# AUTHENTICATE with and without initial response; plain is PLAIN (P17).
protocol: imap
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE plain
A> ask PLAIN
A< CONT
C> + \c
C> \r\n\c
C< AGpvaG4AeA==
A> answer \0john\0x
A< FAIL user=john
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a2 AUTHENTICATE PLAIN =
A> ask PLAIN ""
A< CONT
C> + \c
C> \r\n\c
C< AGpvaG4Ac2VjcmV0
A> answer \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a2 OK in
