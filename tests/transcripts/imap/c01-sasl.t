# C01: the same through SASL PLAIN and LOGIN.
protocol: imap
mechanisms: PLAIN LOGIN
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE PLAIN AGpvaG4AeA0KREVMRSAx
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a2 AUTHENTICATE LOGIN
A> ask LOGIN
A< CONT Username:
C> + VXNlcm5hbWU6
C< am9obg0K
A> cancel
C> a2 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a3 AUTHENTICATE LOGIN AGpvaG4=
C> a3 NO [AUTHENTICATIONFAILED] Authentication failed.
