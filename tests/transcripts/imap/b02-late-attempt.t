# B02: a backend's time never exceeds that of the login.
protocol: imap
sockets: no
---
C> * OK Dovecot ready.
time: 170
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
time: 180
C> * BYE Disconnected for inactivity.
B> !hang up
log: I Disconnected: Inactivity: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
