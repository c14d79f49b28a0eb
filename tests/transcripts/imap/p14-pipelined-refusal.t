# P14: the same after the backend's refusal, and a second attempt may go to another host (49).
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
C< a2 NOOP
C< a3 LOGIN john other
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG NO wrong
B> !hang up
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C> a2 OK NOOP completed.
A> ask PLAIN \0john\0other
A< OK user=john proxy host=192.0.2.2 pass=other
B> !dial 192.0.2.2 143
B< * OK hello
B> $TAG LOGIN "john" "other"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.2:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a3 OK in
