# F17: auth died between challenge and response: temporary, the next line is a command.
protocol: imap
---
C> * OK Dovecot ready.
C< a1 AUTHENTICATE PLAIN
A> ask PLAIN
A< CONT
C> + \c
C> \r\n\c
A< !lost
C> a1 NO [UNAVAILABLE] Temporary authentication failure.
C< a2 NOOP
C> a2 OK NOOP completed.
