# B12, 48: untagged lines are swallowed; one with the client's tag is an error.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< * CAPABILITY IMAP4rev1
B< * OK [ALERT] hello
B< * BYE
B< a1 OK fake
log: E imap-proxy(john): Remote returned an unexpected reply: a1 OK fake
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
