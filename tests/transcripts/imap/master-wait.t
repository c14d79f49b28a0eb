# C07 B16 B17: without SASL-IR the password waits for +; rubbish instead of a challenge gets nothing.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 master=master pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG AUTHENTICATE PLAIN
B< +\s
B> am9obgBtYXN0ZXIAc2VjcmV0
B< + again
log: E imap-proxy(john): Remote sent an invalid challenge: again
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 master=master pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG AUTHENTICATE PLAIN
B< + not base64
log: E imap-proxy(john): Remote sent an invalid challenge: not base64
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 master=master pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG AUTHENTICATE PLAIN
B< $TAG NO no such mechanism
log: E imap-proxy(john): Remote refused PLAIN: NO no such mechanism
B> !hang up
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 master=master pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG AUTHENTICATE PLAIN
B< +
B> am9obgBtYXN0ZXIAc2VjcmV0
B< $TAG NO wrong
B> !hang up
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
