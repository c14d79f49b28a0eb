# C06 C08: 8-bit, quote and backslash as they are.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER j\xf6hn
C> +OK
C< PASS \xc3\xa4"\\\xff
A> ask PLAIN \0j\xf6hn\0\xc3\xa4"\\\xff
A< OK user=j\xf6hn proxy host=192.0.2.1 pass=\xc3\xa4"\\\xff
B> !dial 192.0.2.1 110
B< +OK hello
B> USER j\xf6hn
B< +OK
B> PASS \xc3\xa4"\\\xff
B< +OK
log: I proxy(j\xf6hn): started proxying to 192.0.2.1:110: user=<j\xf6hn>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach j\xf6hn
C> +OK
