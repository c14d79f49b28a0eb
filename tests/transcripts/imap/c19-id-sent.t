# C19 C07: ID with our words goes ahead of LOGIN without waiting; a literal still waits, whatever ID's answer is.
protocol: imap
sockets: no
session: S1
---
C> * OK Dovecot ready.
C< a0 ID ("x-originating-ip" "192.0.2.66" "name" "x\c
C< ")
C> * ID NIL
C> a0 OK ID completed.
C< a1 LOGIN john "a\\\\b"
A> ask PLAIN \0john\0a\\b
A< OK user=john proxy host=192.0.2.1 pass=a\\b
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 ID] hello
B> $TAGI ID ("x-session-id" "S1" "x-originating-ip" "10.0.0.5" "x-originating-port" "50000" "x-connected-ip" "10.0.0.1" "x-connected-port" "143" "x-proxy-ttl" "4")
B> $TAG LOGIN "john" {3}
B< * ID NIL
B< $TAGI BAD who cares
B< +
B> a\\b
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a1 OK in
