"""The shells: one module per kind of process, wiring pure rooms to sockets."""
