"""User databases, one driver a file."""
