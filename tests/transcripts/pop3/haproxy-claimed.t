# C19: a trusted proxy's word for the client is what the backend's header says; TLS comes behind it.
protocol: pop3
sockets: no
trusted: 10.0.0.5
---
C> +OK [XCLIENT] Dovecot ready.
C< XCLIENT ADDR=192.0.2.66 PORT=4660 DESTADDR=192.0.2.77 DESTPORT=110
C> +OK Updated
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret haproxy=yes ssl=yes
B> !dial 192.0.2.1 995 192.0.2.1 yes
B> !header \r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x42\xc0\x00\x02\x4d\x12\x34\x00\x6e
B< +OK hello
B> USER john
B< +OK
B> PASS secret
B< +OK in
log: I proxy(john): started proxying to 192.0.2.1:995: user=<john>, method=PLAIN, rip=192.0.2.66, lip=192.0.2.77, secured
C> !detach john
C> +OK in
