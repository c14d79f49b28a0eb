# Shutting down tells the client that he may come back.
protocol: pop3
sockets: no
---
C> +OK Dovecot ready.
end: Shutting down
C> -ERR [IN-USE] Shutting down.
log: I Disconnected: Shutting down: rip=10.0.0.5, lip=10.0.0.1
C> !close
