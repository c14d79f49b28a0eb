# P20 P21: leaving while the backend works hangs up.
protocol: pop3
---
C> +OK Dovecot ready.
C< USER john
C> +OK
C< PASS secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 110
B< +OK hello
B> USER john
B< +OK
B> PASS secret
C< !eof
B> !hang up
log: I Disconnected: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
