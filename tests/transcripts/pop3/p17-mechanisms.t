# P17: unknown names go nowhere; = is an empty initial response.
protocol: pop3
---
C> +OK Dovecot ready.
C< AUTH NTLM
C> -ERR Unsupported authentication mechanism.
C< AUTH \(x*300)
C> -ERR Unsupported authentication mechanism.
C< AUTH PLAIN =
A> ask PLAIN ""
A< FAIL
C> -ERR [AUTH] Authentication failed.
