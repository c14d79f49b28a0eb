# 6.3: what atoms may hold, and the texts for what they may not.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN jo]h*n%x\\@y pa'ss~
A> ask PLAIN \0jo]h*n%x\\@y\0pa'ss~
A< FAIL
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C< a2 LOGIN j\xf6hn x
C> a2 BAD 8bit data in atom
C< a3 LOGIN "john x
C> a3 BAD Missing '"'
