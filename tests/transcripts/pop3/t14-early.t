# T14: answers queued behind the banner, and bytes behind the OK.
split: no
protocol: pop3
sockets: no
max_reconnects: 3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 110
B< +OK
B< +OK
B< +OK
B> STLS
log: E pop3-proxy(john): Remote answered before it was asked: +OK
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=mail.example hostip=192.0.2.1 pass=secret starttls=yes
B> !dial 192.0.2.1 110
B< +OK
B> STLS
B< +OK
B< +\c
log: E pop3-proxy(john): Remote sent data behind its OK to STLS
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
