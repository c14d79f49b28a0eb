# nologin with and without a text; nologin with host is a referral.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john nologin reason=Try\stomorrow
C> a1 NO [ALERT] Try tomorrow
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john nologin
C> a2 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a3 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john nologin host=mail.example port=1143
C> a3 NO [REFERRAL imap://john;AUTH=PLAIN@mail.example:1143/] Try this server instead.
