"""Logins of john while his backend plays a script, and the usual scripts of a hostile backend."""

from __future__ import annotations

from tests.harness.arena import Arena
from tests.harness.attempts import TEMPORARY
from tests.harness.raw_client import RawClient
from tests.harness.scripted_backend import Peer, Script, ScriptedBackend

BANNER = {"imap": b"* OK backend\r\n", "pop3": b"+OK backend\r\n"}


def scripted(arena: Arena, protocol: str) -> ScriptedBackend:
    """Return john's backend."""
    return arena.imap if protocol == "imap" else arena.pop3


def log_in(client: RawClient, protocol: str, user: bytes = b"john") -> bytes:
    """Return the last reply of a login as the user with JOHN's password."""
    if protocol == "imap":
        return client.ask(b"a1 LOGIN %s %s\r\n" % (user, Arena.JOHN))
    assert client.ask(b"USER %s\r\n" % user) == b"+OK"
    return client.ask(b"PASS %s\r\n" % Arena.JOHN)


def attempt(arena: Arena, protocol: str, script: Script) -> tuple[bytes, Peer]:
    """Log in once with the backend playing `script`.

    Returns the client's last reply and the backend's record; a refused client may go on.
    """
    backend = scripted(arena, protocol)
    backend.play(script)
    with arena.client(protocol) as client:
        reply = log_in(client, protocol)
        if reply.startswith((TEMPORARY[protocol], b"a1 NO ", b"-ERR ")):
            follow = b"n NOOP\r\n" if protocol == "imap" else b"FOO\r\n"
            answer = client.ask(follow)
            assert answer.startswith(b"n OK " if protocol == "imap" else b"-ERR Unknown"), answer
    (peer,) = backend.wait_peers(1)
    return reply, peer


def says(data: bytes) -> Script:
    """Play: send this at once, record what comes."""

    def script(peer: Peer) -> None:
        peer.send(data)
        peer.until_end()

    return script


def answers(text: bytes) -> Script:
    """Play an IMAP backend that answers LOGIN with `text`; TAG stands for its tag."""

    def script(peer: Peer) -> None:
        peer.send(BANNER["imap"])
        tag, _, _ = peer.imap_login()
        peer.send(text.replace(b"TAG", tag))
        peer.until_end()

    return script


def answers_pop3(to_user: bytes, to_pass: bytes = b"") -> Script:
    """Play a POP3 backend that says this to USER and to PASS."""

    def script(peer: Peer) -> None:
        peer.send(BANNER["pop3"])
        peer.line()
        peer.send(to_user)
        if to_pass:
            peer.line()
            peer.send(to_pass)
        peer.until_end()

    return script
