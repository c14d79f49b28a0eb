# C02: CR or LF in the user name: refused before lookup; nothing of it is logged.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN {16+}
C< john\r\nFAKE login secret
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a2 LOGIN {5+}
C< jo\rhn secret
C> a2 NO [AUTHENTICATIONFAILED] Authentication failed.
