# C01 C03: CR or LF in a password: a credential failure; neither auth nor a backend is asked.
protocol: imap
verbose: yes
---
C> * OK Dovecot ready.
C< a1 LOGIN john {6+}
C< x\r\nb 1\c
C< \r\n\c
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
log: I Login failed: CR, LF or NUL in user name or password: rip=10.0.0.5, lip=10.0.0.1
