# C19: a claim that is nonsense in one word is not believed in the others.
protocol: imap
sockets: no
tls: available
trusted: 10.0.0.0/24
session: OWN
capability: X ID
disable_plaintext_auth: yes
elements: user=<%u> rip=%r rport=%b lip=%l lport=%a %c session=<%{session}>
---
C> * OK [CAPABILITY X ID STARTTLS AUTH=PLAIN] Dovecot ready.
C< b0 ID ("x-connected-ip" "192.0.2.80" "x-originating-ip" "x")
C> * ID NIL
C> b0 OK ID completed.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< b1 ID ("x-connected-ip" "192.0.2.80" "x-originating-ip" "")
C> * ID NIL
C> b1 OK ID completed.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< b2 ID ("x-connected-ip" "192.0.2.80" "x-originating-ip" "fe80::1%eth0")
C> * ID NIL
C> b2 OK ID completed.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< b3 ID ("x-connected-ip" "192.0.2.80" "x-originating-port" "70000")
C> * ID NIL
C> b3 OK ID completed.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< b4 ID ("x-connected-ip" "192.0.2.80" "x-originating-port" "-1")
C> * ID NIL
C> b4 OK ID completed.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< b5 ID ("x-connected-ip" "192.0.2.80" "x-connected-port" "1 ")
C> * ID NIL
C> b5 OK ID completed.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< b6 ID ("x-connected-ip" "192.0.2.80" "x-session-id" "a b")
C> * ID NIL
C> b6 OK ID completed.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< b7 ID ("x-connected-ip" "192.0.2.80" "x-session-id" "a\\\\")
C> * ID NIL
C> b7 OK ID completed.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< b8 ID ("x-connected-ip" "192.0.2.80" "x-session-id" "\(s*65)")
C> * ID NIL
C> b8 OK ID completed.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< b9 ID ("x-connected-ip" "192.0.2.80" "x-proxy-ttl" "x")
C> * ID NIL
C> b9 OK ID completed.
log: W Invalid claim of a proxy, rip=10.0.0.5: no change
C< !eof
log: I Disconnected: rip=10.0.0.5, rport=50000, lip=10.0.0.1, lport=143, secured, session=<OWN>
C> !close
