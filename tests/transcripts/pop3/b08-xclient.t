# B08: a success too many behind the answers to XCLIENT and USER is none for PASS; a refusal gets no password.
protocol: pop3
sockets: no
split: no
session: S1
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +OK [XCLIENT] hello
B> XCLIENT ADDR=10.0.0.5 PORT=50000 DESTADDR=10.0.0.1 DESTPORT=143 SESSION=S1 TTL=4
B> USER john
B< +OK Updated
B< +OK
B< +OK in
B> PASS secret
log: E pop3-proxy(john): Remote answered before it was asked: +OK in
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +OK [XCLIENT] hello
B> XCLIENT ADDR=10.0.0.5 PORT=50000 DESTADDR=10.0.0.1 DESTPORT=143 SESSION=S1 TTL=4
B> USER john
B< -ERR You are not from trusted IP
log: E pop3-proxy(john): Remote refused XCLIENT: -ERR You are not from trusted IP
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy proxy_not_trusted host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +OK [XCLIENT] hello
B> USER john
B< !lost connection closed
log: E proxy(john): Remote 192.0.2.1:110 disconnected: connection closed
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
