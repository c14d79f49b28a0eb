# C18 B08: what a silent banner hides is heeded, too, and an answer that came before the question is none.
protocol: imap
capability: X
sockets: no
split: no
---
C> * OK Dovecot ready.
C< a0 CAPABILITY
C> * CAPABILITY X AUTH=PLAIN
C> a0 OK Capability completed.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $CAPABILITY CAPABILITY
B< * CAPABILITY IMAP4rev1 LOGINDISABLED
B< $CAPABILITY OK done
log: E imap-proxy(john): Remote advertises LOGINDISABLED, no password was sent
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B< P OK done
B> $CAPABILITY CAPABILITY
log: E imap-proxy(john): Remote answered before it was asked: P OK done
B> !hang up
C> a2 NO [UNAVAILABLE] Temporary authentication failure.
