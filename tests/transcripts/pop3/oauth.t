# B16 B17: the same over POP3; one empty answer and no more.
protocol: pop3
sockets: no
mechanisms: PLAIN XOAUTH2
---
C> +OK Dovecot ready.
C< AUTH XOAUTH2 dXNlcj1qb2huAWF1dGg9QmVhcmVyIHRva2VuAQE=
A> ask XOAUTH2 user=john\x01auth=Bearer token\x01\x01
A< OK user=john proxy host=192.0.2.1 proxy_mech=XOAUTH2 pass=token
B> !dial 192.0.2.1 110
B< +OK hello
B> AUTH XOAUTH2
B< +\s
B> dXNlcj1qb2huAWF1dGg9QmVhcmVyIHRva2VuAQE=
B< + eyJzdGF0dXMiOiI0MDAifQ==
B>
B< + eyJzdGF0dXMiOiI0MDAifQ==
log: E pop3-proxy(john): Remote asked to continue a complete command
B> !hang up
C> -ERR [SYS/TEMP] Temporary authentication failure.
