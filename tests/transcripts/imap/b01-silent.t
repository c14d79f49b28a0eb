# B01: a silent backend is left at its timeout; the login's own deadline still holds.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
time: 10
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
time: 39
time: 40
log: E proxy(john): connect(192.0.2.1, 143) failed: timed out after 30 s
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
time: 179
time: 180
C> * BYE Disconnected for inactivity.
log: I Disconnected: Inactivity: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
