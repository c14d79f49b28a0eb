"""The tries to log an accepted user in at a backend: addresses in turn, pauses, one deadline over all.

A connection that cannot be made, or is lost before the backend's first byte, is followed by the next address,
at once; when all have failed, by all of them again a second later, as often as `login_proxy_max_reconnects`
says and only if time is left. While more addresses wait, a silent one gets no more than its share of the
time. There is no other try once a backend has spoken, so none after a password was sent or refused, and none
after TLS has failed: it would meet the same man in the middle.
"""

from __future__ import annotations

from mailproxy.base.level import Level
from mailproxy.proto.backend import Backend, Verdict
from mailproxy.session.out import BackendTls, Out
from mailproxy.session.policy import Policy
from mailproxy.session.target import Target

RECONNECT_PAUSE_S = 1.0
RECONNECT_TIME_S = 1.1
"""With less time left a reconnect is not worth its pause."""


class Attempts:
    """Lives from auth's OK to the verdict; `user` is printable."""

    # fmt: off
    __slots__ = (
        "_deadline", "_has_spoken", "_is_paused", "_next", "_out", "_policy", "_rounds",
        "_tag", "_target", "_timeout_s", "_tls", "_try_s", "_user", "backend", "is_handshaking", "server",
    )
    # fmt: on

    def __init__(self, policy: Policy, out: Out, target: Target, tag: bytes, user: str) -> None:
        self._policy = policy
        self._out = out
        self._target = target
        self._tag = tag
        self._user = user
        self._next = 0
        self._rounds = 0
        self._timeout_s = target.timeout_s or policy.proxy_timeout_s
        self._deadline = 0.0
        self._try_s = 0.0
        self._has_spoken = False
        self._is_paused = False
        self.is_handshaking = False
        """Whether nothing may come but TLS."""
        self._tls: BackendTls | None = None
        self.server = target.servers[0]
        """The server of the latest try."""
        self.backend: Backend
        """The dialogue of the latest try."""

    def begin(self, now: float, login_deadline: float) -> None:
        """Dial for the first time."""
        self._deadline = min(login_deadline, now + self._timeout_s)
        self._dial(now)

    def _dial(self, now: float) -> None:
        target, out = self._target, self._out
        self.server = server = target.servers[self._next]
        self._next += 1
        self._has_spoken = self.is_handshaking = False
        self.backend = self._policy.backend(target.account, self._tag, out.send_backend)
        tls = None
        if target.verify is not None:
            self._tls = BackendTls(server.name, target.verify)
            tls = None if target.account.starttls else self._tls
        self._try_s = (self._deadline - now) / (len(target.servers) - self._next + 1)
        out.set_deadline(now + self._try_s)
        source_ip = target.source_ip_for(server.ip) if target.source_ip else ""
        out.dial(server.ip, server.port, tls, source_ip, target.immediate_failure_after_s, target.header)

    def on_spoken(self) -> None:
        """Take it that the first bytes have come: this try is the last one, and has all the time."""
        self._has_spoken = True
        if self._next < len(self._target.servers):
            self._out.set_deadline(self._deadline)

    def start_tls(self) -> bool:
        """Begin TLS, as the backend has agreed to; False if nobody wished it."""
        if self._tls is None:
            return False
        self.is_handshaking = True
        self._out.start_backend_tls(self._tls)
        return True

    def refuse_clear(self) -> Verdict:
        """Judge what came in place of the handshake."""
        self.backend.why = "Remote sent data in the clear after its OK to TLS"
        return Verdict.BROKEN

    def on_tls_started(self) -> None:
        """Go on within TLS."""
        if self.is_handshaking:
            self.is_handshaking = False
            self.backend.on_tls_started()

    def on_lost(self, why: str, now: float, is_final: bool) -> bool:
        """Hang up, and say whether another try is made; `why` is printable, `is_final` forbids one."""
        server, out = self.server, self._out
        what = f"connect({server.ip}, {server.port}) failed"
        if self._has_spoken:
            what = f"Remote {server.ip}:{server.port} disconnected"
        text = f"proxy({self._user}): {what}: {why}"
        may_retry = not (is_final or self._has_spoken)
        if may_retry and self._next < len(self._target.servers) and now < self._deadline:
            out.log(Level.WARNING, f"{text}, trying {self._target.servers[self._next].ip}")
            out.hang_up()
            self._dial(now)
            return True
        has_time = self._deadline - now >= RECONNECT_TIME_S
        if may_retry and has_time and self._rounds < self._policy.max_reconnects:
            self._rounds += 1
            self._is_paused = True
            out.hang_up()
            out.set_deadline(now + RECONNECT_PAUSE_S)
            return True
        out.log(Level.ERROR, f"{text}, after {self._rounds} reconnects" if self._rounds else text)
        out.hang_up()
        return False

    def on_deadline(self, now: float) -> bool:
        """Take it that the time set last has come; say whether there is another try."""
        if not self._is_paused:
            seconds = self._timeout_s if now >= self._deadline else self._try_s
            return self.on_lost(f"timed out after {seconds:g} s", now, False)
        self._is_paused = False
        self._next = 0
        self._dial(now)
        return True

    def hang_up(self) -> None:
        """Leave the backend of the latest try, if it has not been left."""
        if not self._is_paused:
            self._out.hang_up()
