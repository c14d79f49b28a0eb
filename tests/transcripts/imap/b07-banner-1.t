# B04 B07 B19: a banner that is none: no password, temporary; escaped and cut in the log.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< HTTP/1.1 400 Bad Request
log: E imap-proxy(john): Remote returned invalid banner: HTTP/1.1 400 Bad Request
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
