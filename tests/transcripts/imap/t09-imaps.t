# T09: STARTTLS on a connection that began with TLS.
protocol: imap
sockets: no
tls: available
client_tls: yes
greeting_capability: yes
capability: IMAP4rev1
---
C> * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Dovecot ready.
C< a1 STARTTLS
C> a1 BAD TLS is already active.
C< a2 NOOP
C> a2 OK NOOP completed.
