"""Sockets: the reactor, accepting, dialling and the relay."""
