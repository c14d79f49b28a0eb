# B15: nothing behind a refusal reaches the client.
protocol: imap
split: no
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG NO wrong
B< * 1 EXISTS
B> !hang up
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a2 NOOP
C> a2 OK NOOP completed.
