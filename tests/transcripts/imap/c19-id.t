# C19 P09: ID is answered, nothing of it is used; the backend sees our tag alone.
protocol: imap
---
C> * OK Dovecot ready.
C< a0 ID ("name" "x\\\\y" "version" NIL)
C> * ID NIL
C> a0 OK ID completed.
C< a1 ID NIL
C> * ID NIL
C> a1 OK ID completed.
C< a2 ID ()
C> * ID NIL
C> a2 OK ID completed.
C< a3 ID ({4+}
C< name {3}
C> + OK
C< a b)
C> * ID NIL
C> a3 OK ID completed.
C< secret-tag LOGIN john secret
A> ask PLAIN \0john\0secret
A< OK user=john proxy host=192.0.2.1 pass=secret
B> !dial 192.0.2.1 143
B< * OK hello
B> $TAG LOGIN "john" "secret"
B< $TAG OK in
log: I proxy(john): started proxying to 192.0.2.1:143: user=<john>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1
C> !detach john
C> secret-tag OK in
