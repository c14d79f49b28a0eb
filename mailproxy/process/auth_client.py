"""One connection of a login worker (or of Postfix, Exim) to auth: lines in, lines out.

Whatever breaks the protocol ends this connection and nothing else; request ids live within it.
"""

from __future__ import annotations

import binascii
import socket
from collections.abc import Callable
from typing import NamedTuple

from mailproxy.auth.delay import FailureDelay
from mailproxy.auth.engine import Engine
from mailproxy.auth.mechanisms.claim import Context
from mailproxy.auth.mechanisms.registry import Offer
from mailproxy.auth.request import Request
from mailproxy.base.errors import PeerViolation
from mailproxy.base.level import Level
from mailproxy.base.limits import AUTH_LINE_BYTES, AUTH_PENDING_REQUESTS, AUTH_REQUEST_S
from mailproxy.base.text import printable
from mailproxy.ipc import auth_server_lines as lines
from mailproxy.ipc.auth_protocol import render_challenge
from mailproxy.net.reactor import READ, WRITE, Reactor

_READ_BYTES = 65536
# Answers that a client does not read; no honest one ever comes near.
_OUTPUT_BYTES = 4 << 20
_LOGGED_BYTES = 900


class Shared(NamedTuple):
    """What all connections of the process use."""

    reactor: Reactor
    engine: Engine
    delay: FailureDelay[Request]
    offers: dict[bytes, Offer]
    log: Callable[[Level, str], None]
    debug: bool
    debug_passwords: bool
    news: Callable[[], bytes]
    """Lines for a worker that has just connected."""


class AuthClient:
    """Owns its socket. `gone` is called once, after the socket is closed."""

    def __init__(
        self,
        sock: socket.socket,
        context: Context,
        shared: Shared,
        gone: Callable[[AuthClient], None],
    ) -> None:
        self._socket = sock
        self._fd = sock.fileno()
        self._context = context
        self._shared = shared
        self._engine = shared.engine
        self._offers = shared.offers
        self._gone = gone
        self._pid = ""
        self._version_known = False
        self._partial = b""
        self._output: list[bytes] = []
        self._unsent = b""
        self._requests: dict[int, Request] = {}
        self._is_closed = False
        self._handlers = {
            b"AUTH": self._on_auth,
            b"CONT": self._on_continue,
            b"CANCEL": self._on_cancel,
            b"VERSION": self._on_version,
            b"CPID": self._on_pid,
        }
        shared.reactor.add(self._fd, READ, self._on_event)
        announced = [offer.announced for offer in shared.offers.values()]
        self._send(lines.render_greeting(announced, context.server_pid, context.connection_id, shared.news()))

    # -- input ----------------------------------------------------------------------------------------

    def _on_event(self, events: int) -> None:
        if events & WRITE:
            self._write_unsent()
        if events & ~WRITE and not self._is_closed:
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self.close()
        self._engine.now = self._shared.reactor.now
        *complete, self._partial = (self._partial + data).split(b"\n")
        try:
            for line in complete:
                if len(line) > AUTH_LINE_BYTES:
                    raise PeerViolation("line too long")
                words = line.split(b"\t")
                if self._shared.debug:
                    self._log_input(words)
                # A newer peer may know more commands than we do.
                if (handler := self._handlers.get(words[0])) is not None:
                    handler(words)
            if len(self._partial) > AUTH_LINE_BYTES:
                raise PeerViolation("line too long")
        except PeerViolation as violation:
            self._shared.log(Level.ERROR, f"auth client {self._pid or '?'}: {violation}")
            self.close()

    def _on_version(self, words: list[bytes]) -> None:
        lines.check_version(words)
        self._version_known = True

    def _on_pid(self, words: list[bytes]) -> None:
        if self._pid or not self._version_known:
            raise PeerViolation("CPID out of turn")
        self._pid = str(lines.parse_client_pid(words))

    def _on_auth(self, words: list[bytes]) -> None:
        ask = lines.parse_ask(words)
        request_id = ask.request_id
        if not self._pid:
            raise PeerViolation("AUTH before CPID")
        if request_id in self._requests:
            raise PeerViolation("AUTH with the id of an open request")
        offer = self._offers.get(ask.mechanism) or self._offers.get(ask.mechanism.upper())
        if offer is None:
            return self._send(
                lines.render_fail(request_id, None, reason=b"Unsupported authentication mechanism.")
            )
        if len(self._requests) >= AUTH_PENDING_REQUESTS:
            raise PeerViolation("too many open requests")
        now = self._shared.reactor.now
        request = Request(self, request_id, offer, offer.begin(self._context), self._pid, now)
        self._requests[request_id] = request
        self._engine.begin(request, ask.parameters, ask.response)

    def _on_continue(self, words: list[bytes]) -> None:
        request_id, response = lines.parse_continue(words)
        request = self._requests.get(request_id)
        if request is None:
            return self._send(lines.render_fail(request_id, None, reason=b"Timeouted"))
        # One that is over has its answer waiting for the beat; it gets no second one.
        if not request.is_over:
            self._engine.proceed(request, response)

    def _on_cancel(self, words: list[bytes]) -> None:
        request = self._requests.pop(lines.parse_cancel(words), None)
        if request is not None:
            self._abandon(request)

    def tell(self, line: bytes) -> None:
        """Send a line that nobody asked for; who does not know it ignores it."""
        self._send(line)

    # -- answers, called by the engine ----------------------------------------------------------------

    def challenge(self, request: Request, challenge: bytes) -> None:
        """Send a challenge, raw."""
        self._send(render_challenge(request.request_id, binascii.b2a_base64(challenge, newline=False)))

    def succeed(self, request: Request, line: bytes) -> None:
        """Send an OK line; the request is over."""
        del self._requests[request.request_id]
        self._send(line)

    def fail(self, request: Request, line: bytes, at_once: bool) -> None:
        """Send a FAIL line, at the next beat unless `at_once`; the request is over."""
        if at_once:
            return self.deliver(request, line)
        self._shared.delay.hold(request, line, self._shared.reactor.now)

    def deliver(self, request: Request, line: bytes) -> None:
        """Send the answer of a request that was held back."""
        del self._requests[request.request_id]
        self._send(line)

    def expire(self, now: float) -> None:
        """Give up on requests that are too old: silently when it is the client who is awaited."""
        for request in list(self._requests.values()):
            if now - request.started_at < AUTH_REQUEST_S:
                # They are in the order of their arrival.
                break
            if request.awaits_client:
                del self._requests[request.request_id]
                self._abandon(request)
            elif not request.is_over:
                self._engine.expire(request)

    def _abandon(self, request: Request) -> None:
        request.is_over = True
        self._shared.delay.cancel(request)

    # -- output ---------------------------------------------------------------------------------------

    def _send(self, line: bytes) -> None:
        if self._is_closed:
            return
        if self._shared.debug:
            self._log_output(line)
        if not self._output:
            self._shared.reactor.flush_soon(self.flush)
        self._output.append(line)

    def flush(self) -> None:
        """Write what is queued; what the socket does not take waits for it."""
        if self._is_closed or not self._output:
            return
        data = b"".join(self._output)
        self._output.clear()
        if self._unsent:
            self._unsent += data
            if len(self._unsent) > _OUTPUT_BYTES:
                self._shared.log(Level.ERROR, f"auth client {self._pid or '?'}: does not read its answers")
                self.close()
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self.close()
        if sent < len(data):
            self._unsent = data[sent:]
            self._shared.reactor.change(self._fd, READ | WRITE)

    def _write_unsent(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            return self.close()
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._shared.reactor.change(self._fd, READ)

    def close(self) -> None:
        """Forget all requests and close; harmless when closed."""
        if self._is_closed:
            return
        self._is_closed = True
        for request in self._requests.values():
            self._abandon(request)
        self._requests.clear()
        self._shared.reactor.remove(self._fd)
        self._socket.close()
        self._gone(self)

    # -- debug lines ----------------------------------------------------------------------------------

    def _log_input(self, words: list[bytes]) -> None:
        known = words[0] in self._handlers
        shown = b"\t".join(words)
        if not self._shared.debug_passwords:
            if words[0] == b"CONT":
                shown = b"CONT<hidden>"
            elif words[0] == b"AUTH":
                shown = b"\t".join(b"resp=<hidden>" if word[:5] == b"resp=" else word for word in words)
            elif not known:
                shown = b"<hidden>"
        note = "client in: " if known else "client in (unknown command): "
        self._shared.log(Level.INFO, note + _shown(shown))

    def _log_output(self, line: bytes) -> None:
        for shown in line.splitlines():
            words = shown.split(b"\t")
            if not self._shared.debug_passwords:
                words = [b"pass=<hidden>" if word[:5] == b"pass=" else word for word in words]
            self._shared.log(Level.INFO, "client out: " + _shown(b"\t".join(words)))


def _shown(line: bytes) -> str:
    return "\t".join(printable(word, _LOGGED_BYTES) for word in line.split(b"\t"))
