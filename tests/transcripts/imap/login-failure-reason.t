# A passdb's text for the user is one line, whatever it holds; codes of Dovecot 2.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john reason=No\smail\sfor\syou\r\na1\sOK
C> a1 NO [ALERT] No mail for you  a1 OK
C< a2 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john code=pass_expired reason=Password\sexpired
C> a2 NO [EXPIRED] Password expired
C< a3 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john code=authz_fail
C> a3 NO [AUTHORIZATIONFAILED] Authorization failed.
C< a4 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john code=user_disabled
C> a4 NO [CONTACTADMIN] Account is disabled.
C< a5 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john code=unheard_of
C> a5 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a6 LOGIN john secret
A> ask PLAIN \0john\0secret
A< FAIL user=john code=temp_fail
C> a6 NO [UNAVAILABLE] Temporary authentication failure.
