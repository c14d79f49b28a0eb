# P15: * aborts, the request is cancelled, a late answer has no effect.
protocol: imap
verbose: yes
mechanisms: PLAIN LOGIN
sockets: no
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE LOGIN
A> ask LOGIN
A< CONT Username:
C> + VXNlcm5hbWU6
C< *
A> cancel
C> a1 BAD Authentication aborted
log: I Authenticate LOGIN failed: Authentication aborted: method=LOGIN, rip=10.0.0.5, lip=10.0.0.1
A< FAIL user=late
C< a2 NOOP
C> a2 OK NOOP completed.
