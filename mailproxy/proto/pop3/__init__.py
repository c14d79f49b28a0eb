"""POP3 before and during login (RFC 1939, 2449, 5034)."""
