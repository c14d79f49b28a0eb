"""An administrator's question, read from his own descriptor, and the answer to it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from mailproxy.auth.explanation import Explanation
from mailproxy.base.errors import PeerViolation
from mailproxy.base.limits import AUTH_REQUEST_S
from mailproxy.ipc.control import INQUIRY_BYTES, Reply, parse_inquiry, render_reply
from mailproxy.net.reactor import READ, Reactor

# The question was sent along with the request for it.
_QUESTION_S = 5.0

NewExplanation = Callable[[Callable[[list[str]], None]], Explanation]


class InquiryLink:
    """Owns the descriptor, and closes it when everything is said."""

    def __init__(self, reactor: Reactor, fd: int, new_explanation: NewExplanation) -> None:
        self._reactor = reactor
        self._sock = socket.socket(fileno=fd)
        self._explanation = new_explanation(self._answer)
        self._is_open = True
        self._timer = reactor.call_later(_QUESTION_S, self._close)
        reactor.add(fd, READ, self._on_readable)

    def _on_readable(self, _events: int) -> None:
        try:
            packet = self._sock.recv(INQUIRY_BYTES + 1, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        self._reactor.remove(self._sock.fileno())
        self._reactor.cancel(self._timer)
        try:
            inquiry = parse_inquiry(packet)
        except PeerViolation as error:
            self._say(Reply.FAILURE, str(error))
            self._end()
            return
        self._timer = self._reactor.call_later(AUTH_REQUEST_S, self._explanation.expire)
        self._explanation.begin(inquiry)

    def _answer(self, lines: list[str]) -> None:
        self._say(Reply.TEXT, "\n".join(lines))
        self._say(Reply.END, "")
        self._end()

    def _say(self, kind: Reply, text: str) -> None:
        with contextlib.suppress(OSError):
            self._sock.send(render_reply(kind, text.encode("utf-8", "backslashreplace")), socket.MSG_DONTWAIT)

    def _close(self) -> None:
        self._reactor.remove(self._sock.fileno())
        self._end()

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._reactor.cancel(self._timer)
            self._sock.close()
