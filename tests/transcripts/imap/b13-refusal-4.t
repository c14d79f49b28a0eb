# B13 B14: temporary stays temporary, a referral is not followed; one text for the client, the real one in the log.
protocol: imap
verbose: yes
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG NO [REFERRAL imap://x;AUTH=*@evil/] go
log: I proxy(john): Login failed to 192.0.2.1:143: NO [REFERRAL imap://x;AUTH=*@evil/] go: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
B> !hang up
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
