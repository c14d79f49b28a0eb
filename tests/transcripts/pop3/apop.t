# APOP: the greeting's challenge, name and digest go to auth; the password has to be the passdb's.
protocol: pop3
mechanisms: PLAIN APOP
apop: <1.2.3@proxy.example>
sockets: no
---
C> +OK Dovecot ready. <1.2.3@proxy.example>
C< APOP john 0123456789abcdef0123456789ABCDEF
A> ask APOP <1.2.3@proxy.example>\0john\0\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef
A< OK user=john proxy host=192.0.2.1
log: E proxy(john): password not given
C> -ERR [SYS/TEMP] Temporary authentication failure.
C< APOP john 0123
C> -ERR Invalid parameters.
C< APOP john 0123456789abcdef0123456789ABCDEG
C> -ERR Invalid characters in MD5 response.
C< AUTH APOP
C> -ERR Unsupported authentication mechanism.
