# P16: the same for an initial response.
protocol: imap
verbose: yes
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE PLAIN !!!!
C> a1 BAD Invalid base64 data in response.
log: I Authenticate PLAIN failed: Invalid base64 data in response.: rip=10.0.0.5, lip=10.0.0.1
