"""Words that every room shares. A closed list: nothing here knows a socket, a file or a protocol."""
