# proxy_nopipelining: the login waits for the answer to ID; a continuation instead of it sends no password.
protocol: imap
sockets: no
session: S1
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy proxy_nopipelining host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 ID] hello
B> $TAGI ID ("x-session-id" "S1" "x-originating-ip" "10.0.0.5" "x-originating-port" "50000" "x-connected-ip" "10.0.0.1" "x-connected-port" "143" "x-proxy-ttl" "4")
B< +
log: E imap-proxy(john): Remote returned an unexpected reply: +
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy proxy_nopipelining host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 ID] hello
B> $TAGI ID ("x-session-id" "S1" "x-originating-ip" "10.0.0.5" "x-originating-port" "50000" "x-connected-ip" "10.0.0.1" "x-connected-port" "143" "x-proxy-ttl" "4")
B< * ID NIL
B< $TAGI OK done
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a2 OK in
