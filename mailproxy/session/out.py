"""What a session can say: the one interface between the pure login dialogue and the world."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from mailproxy.base.level import Level


class BackendTls(NamedTuple):
    """TLS towards a backend: whose certificate is expected, and whether another one is refused."""

    name: str
    verify: bool


class Out(Protocol):
    """In production the worker's connection, in tests a recorder. No call re-enters the session."""

    def send_client(self, data: bytes) -> None:
        """Queue bytes for the client."""

    def send_backend(self, data: bytes) -> None:
        """Queue bytes for the backend that was dialled."""

    def pause_client(self) -> None:
        """Read no more from the client until `resume_client`; TCP makes him wait."""

    def resume_client(self) -> None:
        """Read from the client again."""

    def ask_auth(self, mechanism: bytes, response: bytes | None) -> None:
        """Begin a request; `response` is the base64 initial response. At most one is open at a time."""

    def answer_auth(self, response: bytes) -> None:
        """Continue the open request with a base64 response."""

    def cancel_auth(self) -> None:
        """Forget the open request; no reply to it is delivered afterwards."""

    def take_place(self, user: str) -> bool:
        """Count a session of this user from his address; False if there are too many already.

        By his name as the log has it, which is all that is known of him when the login is over.
        """

    def leave_place(self) -> None:
        """Count it no more: there is no session after all. `close` implies it."""

    def dial(
        self,
        ip: str,
        port: int,
        tls: BackendTls | None,
        source_ip: str,
        immediate_failure_after_s: float | None,
        header: bytes,
    ) -> None:
        """Connect to a backend; its first bytes are the sign of success. An earlier one was hung up.

        `tls` begins before the backend's first byte, None is a connection in the clear; `source_ip` is empty
        for any. A backend that has been failing for `immediate_failure_after_s` need not be tried; 0 is
        never, None the default. `header` goes first of all, in the clear.
        """

    def start_backend_tls(self, tls: BackendTls) -> None:
        """Begin TLS with the backend that has just agreed to; `on_backend_tls_started` or a loss follows."""

    def start_client_tls(self) -> None:
        """Begin TLS with the client, behind what is queued for him; `on_client_tls_started` follows.

        When the handshake fails the client is gone: `on_client_eof`.
        """

    def hang_up(self) -> None:
        """Close the backend connection; nothing of it is delivered afterwards."""

    def detach(self, user: str, to_backend: bytes, to_client: bytes) -> None:
        """Hand both sockets to the relay, which first delivers these bytes. The session is over."""

    def close(self) -> None:
        """Close the client, behind what he could take of what was queued. The session is over."""

    def set_deadline(self, when: float) -> None:
        """Call `on_deadline` at this monotonic time, in seconds; replaces the one set before."""

    def log(self, level: Level, text: str) -> None:
        """Write one log line; foreign bytes in it are already made printable."""
