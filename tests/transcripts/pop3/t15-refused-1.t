# T15: STLS refused, or answered by something else: no fallback to clear, no other try.
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
B< +OK hello
B> STLS
B< + go on
log: E pop3-proxy(john): Remote refused STLS, no password was sent: + go on
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
