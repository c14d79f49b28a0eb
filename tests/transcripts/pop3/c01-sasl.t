# C01: CR LF in a password that SASL brought never reaches PASS.
protocol: pop3
verbose: yes
---
C> +OK Dovecot ready.
C< AUTH PLAIN AGpvaG4AeA0KREVMRSAx
C> -ERR [AUTH] Authentication failed.
log: I Authenticate PLAIN failed: Authentication failed.: rip=10.0.0.5, lip=10.0.0.1
