# C19: the same words from anybody else change nothing; on request an ID is logged, printable and cut.
protocol: imap
log_id: name x-originating-ip
sockets: no
tls: available
trusted: 10.0.1.0/24
session: OWN
capability: X ID
disable_plaintext_auth: yes
elements: user=<%u> rip=%r rport=%b lip=%l lport=%a %c session=<%{session}>
---
C> * OK Dovecot ready.
C< a1 ID ("x-originating-ip" "192.0.2.66" "Name" {3}
C> + OK
C< a\nb "version" "1")
C> * ID NIL
C> a1 OK ID completed.
log: I ID sent: x-originating-ip=192.0.2.66, name=a\x0ab: rip=10.0.0.5, rport=50000, lip=10.0.0.1, lport=143, session=<OWN>
C< a2 ID NIL
C> * ID NIL
C> a2 OK ID completed.
