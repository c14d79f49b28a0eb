"""Wire formats between the processes of mailproxy: bytes to meaning and back, no input or output."""
