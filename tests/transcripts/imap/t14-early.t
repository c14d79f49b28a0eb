# T14: answers queued behind the banner: fixed tags are not ours, and what came before the question is none.
split: no
protocol: imap
sockets: no
max_reconnects: 3
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 143
B< * OK
B< S OK
B< L OK
B> $STARTTLS STARTTLS
log: E imap-proxy(john): Remote answered before it was asked: S OK
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
