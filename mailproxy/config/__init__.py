"""Dovecot's configuration files, read into frozen settings objects."""
