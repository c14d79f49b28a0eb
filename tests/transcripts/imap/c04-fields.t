# C04: line breaks in destuser or pass: temporary, the field is named, its value is not; no connection.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=a\r\nb
log: E proxy(john): field pass holds CR, LF or NUL, nothing was sent to the backend
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 destuser=a\0b pass=secret
log: E proxy(john): field destuser holds CR, LF or NUL, nothing was sent to the backend
C> a2 NO [UNAVAILABLE] Temporary authentication failure.
