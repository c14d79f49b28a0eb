"""TLS on a non-blocking socket, with the errors of a plain one, so that a relay need not know.

Reads must ask for a whole record (16 KiB): what a smaller read leaves inside the TLS object wakes nobody up.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from socket import SocketType
from typing import Any

RECORD_BYTES = 16384


class TlsSocket:
    """Owns the socket it is made of. `handshake` first; then `recv` and `send` as on a socket.

    Raises OSError (ssl.SSLError among them) for what ends the connection and BlockingIOError for *later*.
    """

    __slots__ = ("_tls", "waits_to_write")

    def __init__(
        self, sock: SocketType, context: ssl.SSLContext, *, is_server: bool, name: str | None = None
    ) -> None:
        """Wrap a connected socket; `name` is whose certificate a client of TLS expects."""
        # The TLS class takes a socket.socket over; this one costs nothing but its Python wrapper.
        plain = socket.socket(sock.family, sock.type, sock.proto, sock.detach())
        try:
            self._tls = context.wrap_socket(
                plain, server_side=is_server, do_handshake_on_connect=False, server_hostname=name
            )
        except BaseException:
            plain.close()
            raise
        self.waits_to_write = False

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is done."""
        self.waits_to_write = False
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLWantWriteError:
            self.waits_to_write = True
            return False
        return True

    def recv(self, limit_bytes: int) -> bytes:
        """Read at most one record; empty at the end, a missing close_notify included."""
        try:
            return self._tls.recv(max(limit_bytes, RECORD_BYTES))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, data: bytes) -> int:
        """Write at most one record. After BlockingIOError the same bytes must come again."""
        try:
            return self._tls.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def shutdown(self, how: int) -> None:
        """Say close_notify, then FIN; what the peer still sends can be read."""
        with contextlib.suppress(OSError, ValueError):
            self._tls.unwrap()
        # SSLSocket.shutdown would forget the keys, and with them what is still to be read.
        SocketType.shutdown(self._tls, how)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._tls.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._tls.close()

    def describe(self) -> str:
        """Name protocol and cipher, for the log."""
        cipher = self._tls.cipher()
        return f"{self._tls.version()} with cipher {cipher[0]}" if cipher else ""

    def peer_name(self) -> str:
        """Return the common name of a verified client certificate, empty without one."""
        certificate: dict[str, Any] = dict(self._tls.getpeercert() or {})
        names = [part for relative_name in certificate.get("subject", ()) for part in relative_name]
        return str(dict(names).get("commonName", ""))


Stream = SocketType | TlsSocket
"""What carries a client or a backend."""
