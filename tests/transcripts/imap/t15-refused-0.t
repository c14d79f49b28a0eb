# T15: STARTTLS refused, or answered by something else: no fallback to clear, no other try.
protocol: imap
sockets: no
max_reconnects: 3
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 STARTTLS] hello
B> $STARTTLS STARTTLS
B< $STARTTLS NO not today
log: E imap-proxy(john): Remote refused STARTTLS, no password was sent: P88B88D30 NO not today
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
