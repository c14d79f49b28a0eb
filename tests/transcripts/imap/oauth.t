# B17: tokens are passed through; a failure comes as a challenge, which an empty answer turns into a NO.
protocol: imap
sockets: no
mechanisms: PLAIN XOAUTH2 OAUTHBEARER
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE XOAUTH2 dXNlcj1qb2huAWF1dGg9QmVhcmVyIHRva2VuAQE=
A> ask XOAUTH2 user=john\x01auth=Bearer token\x01\x01
A< OK user=john proxy host=192.0.2.1 proxy_mech=XOAUTH2 pass=token
B> !dial 192.0.2.1 143
B< * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hello
B> $TAG AUTHENTICATE XOAUTH2 dXNlcj1qb2huAWF1dGg9QmVhcmVyIHRva2VuAQE=
B< + eyJzdGF0dXMiOiI0MDAifQ==
B>
B< $TAG NO expired
B> !hang up
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a2 AUTHENTICATE OAUTHBEARER
A> ask OAUTHBEARER
A< CONT
C> +\s
C< bixhPWpvaG4sAWF1dGg9QmVhcmVyIHRva2VuAQE=
A> answer n,a=john,\x01auth=Bearer token\x01\x01
A< OK user=john proxy host=192.0.2.1 proxy_mech=OAUTHBEARER pass=token
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG AUTHENTICATE OAUTHBEARER
B< +\s
B> bixhPWpvaG4sAWF1dGg9QmVhcmVyIHRva2VuAQE=
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=OAUTHBEARER, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> a2 OK in
