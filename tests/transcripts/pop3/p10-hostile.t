# P10: format signs and 8-bit in a command are not echoed.
protocol: pop3
---
C> +OK Dovecot ready.
C< %n%s\xff\x1b[2J
C> -ERR Unknown command.
