# host without proxy is a login referral (RFC 2221); what a name holds cannot end the code.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john host=192.0.2.7 destuser=j]\r\nx reason=Moved
C> a1 NO [REFERRAL imap://j%5D%0D%0Ax;AUTH=PLAIN@192.0.2.7/] Moved
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john host=2001:db8::7
C> a2 NO [REFERRAL imap://john;AUTH=PLAIN@[2001:db8::7]/] Try this server instead.
C< a3 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john host=ev]il\r\n
log: E user=<john>: no referral: invalid host ev]il\x0d\x0a or its port
C> a3 NO [AUTHENTICATIONFAILED] Authentication failed.
