"""IMAP before and during login (RFC 3501)."""
