# P15: * aborts an exchange; the request is cancelled.
protocol: pop3
mechanisms: PLAIN LOGIN
verbose: yes
---
C> +OK Dovecot ready.
C< AUTH LOGIN
A> ask LOGIN
A< CONT Username:
C> + VXNlcm5hbWU6
C< am9obg==
A> answer john
A< CONT Password:
C> + UGFzc3dvcmQ6
C< *
A> cancel
C> -ERR Authentication aborted
log: I Authenticate LOGIN failed: Authentication aborted: method=LOGIN, rip=10.0.0.5, lip=10.0.0.1
C< QUIT
C> +OK Logging out
log: I Aborted login: method=LOGIN, rip=10.0.0.5, lip=10.0.0.1
C> !close
