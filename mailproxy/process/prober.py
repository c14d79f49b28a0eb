"""What backends can do before a login, asked of each of them by auth, which outlives every client.

A backend is asked when it is first used and every hour from then on, until nobody has used it for a day. One
that does not answer is asked again a minute later, and what it said last stays; one that never answered
limits nobody. No name and no password is sent.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from traceback import extract_tb

from mailproxy.auth.destination import DEFAULT_PORTS
from mailproxy.auth.target_fields import Approach
from mailproxy.base.level import Level
from mailproxy.base.text import printable
from mailproxy.ipc.auth_server_lines import render_lacking
from mailproxy.net.reactor import Reactor
from mailproxy.process.backend_link import BackendLink
from mailproxy.process.own_fault import own_fault
from mailproxy.process.question import Question
from mailproxy.process.source_addresses import SourceAddresses
from mailproxy.proto import haproxy
from mailproxy.proto.backend import Verdict
from mailproxy.proto.imap.probe import ImapProbe
from mailproxy.proto.pop3.probe import Pop3Probe
from mailproxy.session.out import BackendTls

REFRESH_S = 3600.0
RETRY_S = 60.0
PATIENCE_S = 10.0
FORGET_S = 86400.0
_BACKENDS = 1024
_AT_ONCE = 8

_DIALOGUES: dict[str, type[ImapProbe | Pop3Probe]] = {"imap": ImapProbe, "pop3": Pop3Probe}

Log = Callable[[Level, str], None]


class _Backend:
    """One that was used; `approach` and `service` stay, everything else changes."""

    __slots__ = ("address", "approach", "is_failing", "lacking", "service", "used_at")

    def __init__(self, service: str, approach: Approach, address: str, now: float) -> None:
        self.service = service
        self.approach = approach
        self.address = address
        self.used_at = now
        self.is_failing = False
        self.lacking: frozenset[bytes] = frozenset()


class Prober:
    """Lives on auth's reactor; `tell` gets a line for the workers when what they may offer has changed."""

    def __init__(
        self, reactor: Reactor, questions: Mapping[str, Question], log: Log, tell: Callable[[bytes], None]
    ) -> None:
        self.reactor = reactor
        self.log = log
        self.questions = {service: question for service, question in questions.items() if question.words}
        self._tell = tell
        self._source_ips = {
            service: SourceAddresses(question.source_ips) for service, question in self.questions.items()
        }
        self._known: dict[tuple[str, Approach], _Backend] = {}
        self._waiting: deque[_Backend] = deque()
        self._running: set[_Probe] = set()
        self._lacking: dict[str, frozenset[bytes]] = {}
        self._is_closed = False

    def used(self, service: str, approach: Approach, addresses: str) -> None:
        """Note that a login goes to a backend; `addresses` are split by commas. Costs less than 1 us."""
        known = self._known.get((service, approach))
        if known is not None:
            known.used_at = self.reactor.now
            known.address = addresses
        elif service in self.questions and len(self._known) < _BACKENDS:
            backend = _Backend(service, approach, addresses, self.reactor.now)
            self._known[service, approach] = backend
            self._ask(backend)

    def lines(self) -> bytes:
        """Return what a worker that has just connected has to know."""
        return b"".join(render_lacking(service.encode(), words) for service, words in self._lacking.items())

    def close(self) -> None:
        """Leave whoever is being asked, and ask nobody any more."""
        self._is_closed = True
        for probe in self._running:
            probe.end()
        self._running.clear()

    def _ask(self, backend: _Backend) -> None:
        self._waiting.append(backend)
        self._begin()

    def _begin(self) -> None:
        while self._waiting and len(self._running) < _AT_ONCE and not self._is_closed:
            backend = self._waiting.popleft()
            probe = _Probe(self, backend)
            self._running.add(probe)
            probe.start(self._source_ips[backend.service])

    def learned(self, probe: _Probe, announced: frozenset[bytes] | None) -> None:
        """Take a backend's answer; None if it has none to give."""
        backend = probe.backend
        backend.is_failing = False
        words = self.questions[backend.service].words
        backend.lacking = frozenset() if announced is None else words - announced
        self._sum_up(backend.service)
        self._end(probe, REFRESH_S)

    def failed(self, probe: _Probe, why: str) -> None:
        """Take it that there is no answer; the first of several failures is logged."""
        backend = probe.backend
        if not backend.is_failing:
            backend.is_failing = True
            where = f"{backend.service} backend {printable(backend.approach.host)}"
            self.log(Level.WARNING, f"Can't learn the capabilities of {where}: {why}")
        self._end(probe, RETRY_S)

    def _end(self, probe: _Probe, delay_s: float) -> None:
        self._running.discard(probe)
        self.reactor.call_later(delay_s, lambda: self._ask_again(probe.backend))
        self._begin()

    def _ask_again(self, backend: _Backend) -> None:
        if self.reactor.now - backend.used_at < FORGET_S:
            self._ask(backend)
            return
        del self._known[backend.service, backend.approach]
        self._sum_up(backend.service)

    def _sum_up(self, service: str) -> None:
        lacking = frozenset[bytes]().union(
            *(backend.lacking for backend in self._known.values() if backend.service == service)
        )
        if lacking != self._lacking.get(service, frozenset()):
            self._lacking[service] = lacking
            self._tell(render_lacking(service.encode(), lacking))


class _Probe:
    """One visit to one backend, for at most PATIENCE_S; tells the prober once how it went."""

    __slots__ = ("_dialogue", "_is_over", "_link", "_prober", "_timer", "backend")

    def __init__(self, prober: Prober, backend: _Backend) -> None:
        self._prober = prober
        self.backend = backend
        self._is_over = False
        approach = backend.approach
        self._link = BackendLink(prober.reactor, self, prober.questions[backend.service].tls)
        tag = b"P" + secrets.token_hex(4).upper().encode()
        self._dialogue = _DIALOGUES[backend.service](approach.is_starttls, tag, self._link.send)
        self._timer = prober.reactor.call_later(PATIENCE_S, self._give_up)

    @own_fault
    def start(self, source_ips: SourceAddresses) -> None:
        """Dial, as a login there would."""
        approach = self.backend.approach
        address = self.backend.address.partition(",")[0]
        port = approach.port or DEFAULT_PORTS[self.backend.service, approach.has_tls_port]
        source_ip = approach.source_ip if (":" in approach.source_ip) is (":" in address) else ""
        self._link.dial(
            address,
            int(port),
            self._tls() if approach.has_tls_port else None,
            source_ip or source_ips.next(address),
            haproxy.render(None) if approach.has_header else b"",
        )

    def _tls(self) -> BackendTls:
        approach = self.backend.approach
        return BackendTls(approach.host, approach.tls == "yes")

    @own_fault
    def on_backend_data(self, data: bytes) -> None:
        """Go on with the dialogue."""
        dialogue = self._dialogue
        verdict = dialogue.on_data(data)
        if verdict is Verdict.START_TLS:
            self._link.start_tls(self._tls())
        elif verdict is Verdict.ACCEPTED:
            self.end()
            self._prober.learned(self, dialogue.announced)
        elif verdict is not Verdict.WAIT:
            self._fail(dialogue.why)

    @own_fault
    def on_backend_tls(self) -> None:
        """Go on within TLS."""
        self._dialogue.on_tls_started()

    def on_backend_lost(self, why: str, is_final: bool) -> None:
        """Give up."""
        self._fail(why)

    def _give_up(self) -> None:
        self._fail(f"no answer within {PATIENCE_S:g} s")

    def fail(self, error: Exception) -> None:
        """End this visit for a bug of ours."""
        places = [f"{frame.name}:{frame.lineno}" for frame in extract_tb(error.__traceback__)[-6:]]
        self._prober.log(Level.ERROR, f"BUG: {type(error).__name__} in {' > '.join(places)}")
        self._fail("an error of ours")

    def _fail(self, why: str) -> None:
        if not self._is_over:
            self.end()
            self._prober.failed(self, why)

    def end(self) -> None:
        """Leave; nothing is told any more."""
        self._is_over = True
        self._prober.reactor.cancel(self._timer)
        self._link.close()
