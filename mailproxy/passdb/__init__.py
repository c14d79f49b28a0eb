"""Password databases, one driver a file."""
