# C19: XCLIENT from anybody else.
protocol: pop3
sockets: no
tls: available
trusted: 10.0.1.0/24
session: OWN
capability: TOP
elements: user=<%u> rip=%r rport=%b lip=%l lport=%a %c session=<%{session}>
---
C> +OK Dovecot ready.
C< XCLIENT ADDR=192.0.2.77
C> -ERR You are not from trusted IP
C< !eof
log: I Disconnected: rip=10.0.0.5, rport=50000, lip=10.0.0.1, lport=143, session=<OWN>
C> !close
