# B12: a client who had asked is told the backend's capability, which is asked for if its banner is silent.
protocol: imap
capability: X
sockets: no
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
B< * OK still here
B< * CAPABILITY IMAP4rev1 IDLE ID
B< $CAPABILITY OK done
B> $TAGI ID ("x-originating-ip" "10.0.0.5" "x-originating-port" "50000" "x-connected-ip" "10.0.0.1" "x-connected-port" "143" "x-proxy-ttl" "4")
B> $TAG LOGIN "john" "secret"
B< $TAGI OK
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> * CAPABILITY IMAP4rev1 IDLE ID
C> a1 OK in
