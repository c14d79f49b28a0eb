"""TLS on a non-blocking socket, with the errors of a plain one, so that a relay need not know.

Reads must ask for a whole record (16 KiB): what a smaller read leaves inside the TLS object wakes nobody up.
"""

from __future__ import annotations

# For the name that a backend's certificate is for; in its jail a worker finds no module to load.
import encodings.idna  # noqa: F401
import errno
import socket
import ssl
from socket import SocketType
from typing import Any

RECORD_BYTES = 16384


class TlsSocket:
    """Owns the socket it is made of. `handshake` first; then `recv` and `send` as on a socket.

    Raises OSError (ssl.SSLError among them) for what ends the connection and BlockingIOError for *later*.
    """

    __slots__ = ("_is_over", "_tls", "waits_to_write")

    def __init__(
        self, sock: SocketType, context: ssl.SSLContext, *, is_server: bool, name: str | None = None
    ) -> None:
        """Wrap a connected socket; `name` is whose certificate a client of TLS expects."""
        # The TLS class takes a socket.socket over; this one costs nothing but its Python wrapper.
        plain = socket.socket(sock.family, sock.type, sock.proto, sock.detach())
        # The TLS class takes the mode of what it wraps, and would set the descriptor to blocking.
        plain.setblocking(False)
        try:
            self._tls = context.wrap_socket(
                plain, server_side=is_server, do_handshake_on_connect=False, server_hostname=name
            )
        except BaseException:
            plain.close()
            raise
        self._is_over = False
        self.waits_to_write = False

    def getpeername(self) -> Any:
        """Return the peer's address. Raises OSError when he is gone."""
        return self._tls.getpeername()

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
        if self._is_over:
            return b""
        try:
            return self._tls.recv(max(limit_bytes, RECORD_BYTES))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def send(self, data: bytes, _flags: int = 0) -> int:
        """Write at most one record, flags or not. After BlockingIOError the same bytes must come again."""
        if self._is_over:
            raise BrokenPipeError(errno.EPIPE, "TLS has ended")
        try:
            return self._tls.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def say_goodbye(self) -> None:
        """Say close_notify to a peer who is silent; do not call it while he may be sending.

        The library says it and reads in one step. Data that come in between would be lost and end everything,
        and once the peer's own close_notify is read the library would go on in the clear.
        """
        try:
            if self._nothing_waits():
                self._tls.unwrap()
                self._is_over = True
        except (OSError, ValueError):
            pass  # What was to be said is said: the peer has not answered yet.

    def shutdown(self, how: int) -> None:
        """Send a FIN; what the peer still sends can be read."""
        # SSLSocket.shutdown would forget the keys, and with them what is still to be read.
        SocketType.shutdown(self._tls, how)

    def _nothing_waits(self) -> bool:
        try:
            SocketType.recv(self._tls, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

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

    def peer_certificate(self) -> bytes:
        """Return the peer's certificate in DER, verified or not; empty without one."""
        return self._tls.getpeercert(binary_form=True) or b""

    def peer_name(self) -> str:
        """Return the common name of a verified client certificate, empty without one."""
        certificate: dict[str, Any] = dict(self._tls.getpeercert() or {})
        names = [part for relative_name in certificate.get("subject", ()) for part in relative_name]
        return next((str(value) for key, value in names if key == "commonName"), "")


Stream = SocketType | TlsSocket
"""What carries a client or a backend."""
