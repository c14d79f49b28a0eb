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


# Numbers, not members of an enum: a look at one bit of those costs some calls, 0.3 us, in every record sent.
_MORE = int(socket.MSG_MORE)
_PEEK = int(socket.MSG_PEEK)


class Socket(SocketType):
    """A socket that can carry TLS as it is: the library remembers it weakly, which the bare class forbids."""

    __slots__ = ("__weakref__",)


class TlsSocket:
    """Owns the socket it is made of. `handshake` first; then `recv` and `send` as on a socket.

    Raises OSError (ssl.SSLError among them) for what ends the connection and BlockingIOError for *later*.

    It uses what `ssl.SSLSocket` wraps. That class makes three sockets of one, asks the system for what is
    known and keeps a dictionary for each session.
    """

    __slots__ = ("__weakref__", "_is_over", "_sock", "_tls", "waits_to_write")

    def __init__(
        self, sock: SocketType, context: ssl.SSLContext, *, is_server: bool, name: str | None = None
    ) -> None:
        """Wrap a connected socket; `name` is whose certificate a client of TLS expects.

        A `Socket` is used as it is, any other is emptied into one, which costs two system calls.
        """
        if not isinstance(sock, Socket):
            sock = Socket(sock.family, sock.type, sock.proto, sock.detach())
        self._sock = sock
        if sock.gettimeout() != 0.0:
            sock.setblocking(False)
        self._is_over = False
        self.waits_to_write = False
        try:
            if context.check_hostname and not name:
                raise ValueError("a certificate is to be verified, but nobody says whose")
            ascii_name = name.encode("idna").decode("ascii") if name else None
            self._tls: Any = context._wrap_socket(  # type: ignore[attr-defined]
                self._sock, is_server, ascii_name, owner=self
            )
        except BaseException:
            self._sock.close()
            raise

    @property
    def context(self) -> ssl.SSLContext:
        """The certificates in use; who chooses them by the name that a client wants sets others."""
        context: ssl.SSLContext = self._tls.context
        return context

    @context.setter
    def context(self, context: ssl.SSLContext) -> None:
        self._tls.context = context

    def getpeername(self) -> Any:
        """Return the peer's address. Raises OSError when he is gone."""
        return self._sock.getpeername()

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

    def recv(self, _limit_bytes: int, _flags: int = 0) -> bytes:
        """Read at most one record, limit or not; empty at the end, a missing close_notify included."""
        if self._is_over:
            return b""
        try:
            data: bytes = self._tls.read(RECORD_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLEOFError:
            return b""
        return data

    def send(self, data: bytes, flags: int = 0) -> int:
        """Write at most one record. After BlockingIOError the same bytes must come again.

        With MSG_MORE it waits for what follows, a `shutdown` for example; other flags mean nothing here.
        """
        if self._is_over:
            raise BrokenPipeError(errno.EPIPE, "TLS has ended")
        if flags & _MORE:
            self.hold()
        try:
            sent_bytes: int = self._tls.write(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        return sent_bytes

    def hold(self) -> None:
        """Send full packets only until `let_go`, `shutdown` or `close`; the kernel waits 0.2 s at most."""
        self._cork(1)

    def let_go(self) -> None:
        """Send what is held; harmless when the socket is closed."""
        self._cork(0)

    def _cork(self, value: int) -> None:
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, value)
        except OSError:
            return  # It is closed. (`suppress` would be three more calls, three times a login.)

    def say_goodbye(self) -> None:
        """Say close_notify to a peer who is silent; do not call it while he may be sending.

        The library says it and reads in one step. Data that come in between would be lost and end everything,
        and once the peer's own close_notify is read the library would go on in the clear.
        """
        try:
            if self._nothing_waits():
                self._tls.shutdown()
                self._is_over = True
        except (OSError, ValueError):
            pass  # What was to be said is said: the peer has not answered yet.

    def shutdown(self, how: int) -> None:
        """Send a FIN; what the peer still sends can be read."""
        self._sock.shutdown(how)

    def _nothing_waits(self) -> bool:
        try:
            self._sock.recv(1, _PEEK)
        except BlockingIOError:
            return True
        return False

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def describe(self) -> str:
        """Name protocol and cipher, for the log."""
        cipher = self._tls.cipher()
        return f"{self._tls.version()} with cipher {cipher[0]}" if cipher else ""

    def peer_certificate(self) -> bytes:
        """Return the peer's certificate in DER, verified or not; empty without one."""
        certificate: bytes | None = self._tls.getpeercert(True)
        return certificate or b""

    def peer_name(self) -> str:
        """Return the common name of a verified client certificate, empty without one."""
        certificate: dict[str, Any] | None = self._tls.getpeercert()
        if not certificate:
            return ""
        names = [part for relative_name in certificate.get("subject", ()) for part in relative_name]
        return next((str(value) for key, value in names if key == "commonName"), "")


Stream = SocketType | TlsSocket
"""What carries a client or a backend."""
