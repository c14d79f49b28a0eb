# T15: STARTTLS not offered; nothing is sent. Nor to a backend that says we are in already.
protocol: imap
sockets: no
max_reconnects: 3
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello
log: E imap-proxy(john): Remote does not offer STARTTLS, no password was sent
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 143
B< * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hello
log: E imap-proxy(john): Remote returned invalid banner: * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hello
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
