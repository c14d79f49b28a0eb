# C17 C14: a name full of control bytes and format signs is one printable line.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 LOGIN {21+}
C< \x1b[31m%n{0}\xff%(x)s%u%u\t secret
A> ask PLAIN \0\x1b[31m%n{0}\xff%(x)s%u%u\t\0secret
A< FAIL user=\x1b[31m%n{0}\xff%(x)s%u%u\t
C> a1 NO [AUTHENTICATIONFAILED] Authentication failed.
C< !eof
log: I Disconnected: user=<\x1b[31m%n{0}\xff%(x)s%u%u\x09>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
