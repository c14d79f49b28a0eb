# A login with the user's own password; the backend's text behind the client's tag (47).
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK [CAPABILITY IMAP4rev1 IDLE] Logged in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK [CAPABILITY IMAP4rev1 IDLE] Logged in
