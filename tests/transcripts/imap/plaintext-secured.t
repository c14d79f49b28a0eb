# 11: a client of this very host may use plaintext; %c says secured.
protocol: imap
disable_plaintext_auth: yes
secured: yes
---
C> * OK Dovecot ready.
C< a1 CAPABILITY
C> * CAPABILITY IMAP4rev1 SASL-IR LITERAL+ ID AUTH=PLAIN
C> a1 OK Capability completed.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 X] hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1, secured
C> !detach john
C> * CAPABILITY IMAP4rev1 X
C> a2 OK in
