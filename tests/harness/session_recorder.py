"""A world for a pure Session: records what it says, and keeps the rules that the real driver keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mailproxy.base.level import Level
from mailproxy.ipc.auth_protocol import Mechanism
from mailproxy.session.client import Client
from mailproxy.session.out import BackendTls
from mailproxy.session.policy import LoginProtocol, Policy

Event = tuple[Any, ...]

FLAGS = {
    b"PLAIN": frozenset({b"plaintext"}),
    b"LOGIN": frozenset({b"plaintext"}),
    b"XOAUTH2": frozenset({b"plaintext"}),
    b"OAUTHBEARER": frozenset({b"plaintext"}),
    b"CRAM-MD5": frozenset({b"dictionary", b"active"}),
    b"DIGEST-MD5": frozenset({b"dictionary", b"active", b"mutual-auth"}),
    b"APOP": frozenset({b"private", b"dictionary", b"active"}),
    b"ANONYMOUS": frozenset({b"anonymous"}),
}

CAPABILITY = {"imap": "IMAP4rev1 SASL-IR LITERAL+ ID", "pop3": "TOP UIDL RESP-CODES PIPELINING"}


class Recorder:
    """An Out that writes everything down; neighbouring bytes for one peer become one event."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.deadline = float("inf")
        self.has_room = True
        self.places_left = 0
        self.is_paused = False
        self.is_over = False
        self.has_request = False
        self.has_backend = False

    def _say(self, *event: Any) -> None:
        assert not self.is_over, f"said after the end: {event}"
        self.events.append(event)

    def _bytes(self, lane: str, data: bytes) -> None:
        assert not self.is_over, f"sent after the end: {data!r}"
        if self.events and self.events[-1][0] == lane:
            self.events[-1] = (lane, self.events[-1][1] + data)
        else:
            self.events.append((lane, data))

    def send_client(self, data: bytes) -> None:
        self._bytes("C", data)

    def send_backend(self, data: bytes) -> None:
        assert self.has_backend
        self._bytes("B", data)

    def pause_client(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_client(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def ask_auth(self, mechanism: bytes, response: bytes | None) -> None:
        assert not self.has_request, "two open requests"
        self.has_request = True
        self._say("ask", mechanism, response)

    def answer_auth(self, response: bytes) -> None:
        assert self.has_request
        self._say("answer", response)

    def cancel_auth(self) -> None:
        assert self.has_request
        self.has_request = False
        self._say("cancel")

    def take_place(self, user: str) -> bool:
        if self.has_room:
            return True
        self._say("no place", user)
        return False

    def leave_place(self) -> None:
        self.places_left += 1

    def dial(
        self,
        ip: str,
        port: int,
        tls: BackendTls | None,
        source_ip: str,
        immediate_failure_after_s: float | None,
        header: bytes,
    ) -> None:
        assert not self.has_backend
        self.has_backend = True
        self._say("dial", ip, port, tls, source_ip)
        if header:
            self._say("header", header)

    def start_backend_tls(self, tls: BackendTls) -> None:
        assert self.has_backend
        self._say("backend tls", tls)

    def start_client_tls(self) -> None:
        assert not self.is_paused
        self._say("tls")

    def hang_up(self) -> None:
        assert self.has_backend
        self.has_backend = False
        self._say("hang up")

    def detach(self, user: str, to_backend: bytes, to_client: bytes) -> None:
        assert self.has_backend
        self._say("detach", user, to_backend, to_client)
        self.is_over = True

    def close(self) -> None:
        assert not self.has_request
        assert not self.has_backend
        self._say("close")
        self.is_over = True

    def set_deadline(self, when: float) -> None:
        assert not self.is_over
        self.deadline = when

    def log(self, level: Level, text: str) -> None:
        assert text.isascii(), text
        assert text.isprintable(), text
        assert len(text) <= 1024
        self._say("log", level.value, text)


def make_policy(
    protocol: str = "imap",
    mechanisms: Sequence[bytes] = (b"PLAIN",),
    *,
    disable_plaintext_auth: bool = False,
    greeting_capability: bool = False,
    verbose: bool = False,
    capability: str = "",
    elements: str = "user=<%u> method=%m rip=%r lip=%l %c",
    **others: Any,
) -> Policy:
    return Policy(
        LoginProtocol(protocol),
        [Mechanism(name, FLAGS[name]) for name in mechanisms],
        greeting="Dovecot ready.",
        greeting_capability=greeting_capability,
        capability=capability or CAPABILITY[protocol],
        disable_plaintext_auth=disable_plaintext_auth,
        login_timeout_s=180.0,
        proxy_timeout_s=30.0,
        log_format_elements=elements,
        log_format="%$: %s",
        verbose=verbose,
        host_name="proxy.example",
        **others,
    )


def make_client(secured: bool = False, tls: str = "", session_id: str = "") -> Client:
    client = Client("10.0.0.1", "10.0.0.5", 143, 50000, secured or bool(tls), 77, session_id)
    client.tls = tls
    return client
