"""mailproxy: an IMAP and POP3 login proxy that reads Dovecot's configuration."""

__version__ = "0.1.0"
