"""Rows C01 to C19: credentials that would like to become commands, other users, or log lines."""

from __future__ import annotations

import re

import pytest

from tests.harness.arena import Arena
from tests.harness.attempts import (
    BEGIN,
    FAILED,
    PROTOCOLS,
    TEMPORARY,
    check_refused,
    literals,
    record_login,
    replies,
    sasl,
)
from tests.harness.oracles import Oracles
from tests.harness.raw_client import RawClient, b64, plain, quoted
from tests.harness.scripted_backend import Peer, ScriptedBackend
from tests.harness.wait import wait_until

SETTINGS = "auth_username_chars =\n"


@pytest.fixture
def seen(arena: Arena, oracles: Oracles) -> list[tuple[bytes, bytes]]:
    """What the backends of either protocol were told, decoded; depends on `oracles` to come after it."""
    told: list[tuple[bytes, bytes]] = []
    arena.imap.play(record_login("imap", told))
    arena.pop3.play(record_login("pop3", told))
    return told


def by_sasl(client: RawClient, protocol: str, user: bytes, password: bytes) -> bytes:
    return client.ask(BEGIN[protocol] + plain(user, password) + b"\r\n")


def backends(arena: Arena) -> list[ScriptedBackend]:
    return [arena.imap, arena.pop3]


def lookups(oracles: Oracles) -> int:
    return oracles.log_since_begin().count(b"client in: AUTH")


BREAKS = [b"\r\n", b"\n", b"\r", b"\0", b"\r\nDELE 1\r\n", b"x\r\nP OK in\r\n"]


def test_line_break_in_a_password(arena: Arena, oracles: Oracles) -> None:
    """C01, C03: by SASL, and on IMAP by a literal: a credential failure, no connection to a backend."""
    oracles.keep_secret(b"break-secret")
    words = [w for t in BREAKS for w in (b"break-secret" + t, t + b"break-secret", b"break" + t + b"secret")]

    def logins(protocol: str) -> list[bytes]:
        by_literal = [literals(b"john", word) for word in words if b"\0" not in word]
        # NUL is no byte of a literal (RFC 3501), so that is bad syntax.
        return [sasl(protocol, b"john", word) for word in words] + by_literal * (protocol == "imap")

    check_refused(arena, logins)


@PROTOCOLS
def test_line_break_in_a_user_name(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """C02: refused before any lookup."""
    users = [u for t in BREAKS if t != b"\0" for u in (b"john" + t, t + b"john", b"jo" + t + b"hn")]
    attempts = [sasl(protocol, user, b"any-secret") for user in users]
    if protocol == "imap":
        attempts += [literals(user, b"any-secret") for user in users]
    assert set(replies(arena, protocol, attempts)) == {FAILED[protocol]}
    assert lookups(oracles) == 0
    assert not any(backend.peers for backend in backends(arena))


@PROTOCOLS
def test_other_control_bytes(arena: Arena, protocol: str, seen: list[tuple[bytes, bytes]]) -> None:
    """C03: any other control byte arrives as it is, or the login fails; never another string."""
    codes = sorted({*range(1, 32), 127} - {10, 13})
    words = [b"pw-%c-end" % code for code in codes]
    answers = replies(arena, protocol, [sasl(protocol, b"john", word) for word in words])
    good = [w for w, r in zip(words, answers, strict=True) if r.startswith((b"a1 OK", b"+OK"))]
    assert all(r.startswith((b"a1 OK", b"+OK")) or r == FAILED[protocol] for r in answers)
    wait_until("the backends have recorded", lambda: len(seen) == len(good))
    assert sorted(seen) == [(b"john", word) for word in good]


@PROTOCOLS
def test_line_break_from_the_database(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """C04: temporary; the error line names user and field, not the value; no connection."""
    oracles.keep_secret(b"evil-value")
    for field in ("destuser", "pass_"):
        for number, text in enumerate(("\r\nDELETE 1", "\n", "\r", "\0")):
            user = f"second-{protocol}-{field}-{number}"
            arena.add(user, None, **{field: f"evil-value{text}"})
            with arena.client(protocol) as client:
                reply = by_sasl(client, protocol, user.encode(), b"any-secret")
            assert reply.startswith(TEMPORARY[protocol]), reply
            name = field.rstrip("_")
            line = re.compile(rb"Error: .*%s.*\b%s\b" % (user.encode(), name.encode()))
            wait_until(f"a line names {user} and {name}", lambda r=line: r.search(oracles.log_since_begin()))  # type: ignore[misc]
    assert not any(backend.peers for backend in backends(arena))


def test_nuls_in_plain(arena: Arena) -> None:
    """C05, C09: exactly two NULs, a name and a password; anything else fails and nothing is cut short."""
    messages = [
        b"john",
        b"john\0John-Secret-11",
        b"\0john",
        b"\0john\0John-Secret-11\0",
        b"\0john\0John\0Secret-11",
        b"\0\0john\0John-Secret-11",
        b"\0\0\0\0",
        b"\0\0",
        b"\0john\0",
        b"\0\0John-Secret-11",
    ]
    check_refused(arena, lambda protocol: [BEGIN[protocol] + b64(message) + b"\r\n" for message in messages])


EIGHT_BIT = [
    "pässwörd-ß".encode(),
    "pässwörd".encode("latin-1"),
    b"\xff\xfe\x80-bad",
    "пароль".encode(),
    b"\xc3",
]


@PROTOCOLS
def test_eight_bit(arena: Arena, protocol: str, seen: list[tuple[bytes, bytes]]) -> None:
    """C06: the bytes are kept; towards IMAP never in a quoted string."""
    arena.database.execute("DELETE FROM users WHERE user = ?", ("jürgen",))
    arena.add("jürgen", None)
    for user in (b"john", "jürgen".encode()):
        for password in EIGHT_BIT:
            with arena.client(protocol) as client:
                reply = by_sasl(client, protocol, user, password)
                assert reply.startswith((b"a1 OK", b"+OK")), (password, reply)
    wait_until("the backend has recorded", lambda: len(seen) == 2 * len(EIGHT_BIT))
    assert seen == [(user, word) for user in (b"john", "jürgen".encode()) for word in EIGHT_BIT]
    if protocol == "imap":
        for peer in arena.imap.peers:
            for string in re.findall(rb'"[^"]*"', bytes(peer.received)):
                assert string.isascii()


@pytest.mark.parametrize(
    "answer", [b"TAG BAD no literals\r\n", b"TAG NO\r\n", b"* no\r\nTAG OK in\r\n", b"X OK\r\n"]
)
def test_literal_waits_for_the_continuation(arena: Arena, answer: bytes) -> None:
    """C07: a backend that does not ask for the literal does not get it; the attempt is over."""
    secret = b"\xff-literal-secret"

    def script(peer: Peer) -> None:
        peer.send(b"* OK backend\r\n")
        line = peer.line()
        assert line.endswith(b"{%d}\r\n" % len(secret)), line
        peer.send(answer.replace(b"TAG", line.split(b" ")[0]))
        peer.until_end()

    arena.imap.play(script)
    with arena.client() as client:
        assert by_sasl(client, "imap", b"john", secret).startswith(b"a1 NO ")
        assert client.ask(b"b NOOP\r\n").startswith(b"b OK")
    (peer,) = arena.imap.wait_peers(1)
    assert secret not in peer.received
    assert peer.received.count(b"\r\n") == 1


def test_literal_plus_only_when_advertised(arena: Arena, seen: list[tuple[bytes, bytes]]) -> None:
    """C07: `{N+}` is sent to a backend whose banner offers it, and to no other."""

    def offers(peer: Peer) -> None:
        peer.send(b"* OK [CAPABILITY IMAP4rev1 LITERAL+] backend\r\n")
        tag, user, password = peer.imap_login()
        seen.append((user, password))
        peer.send(tag + b" OK in\r\n")
        peer.until_end()

    for script, form in ((arena.imap.script, b"{5}"), (offers, b"{5+}")):
        arena.imap.play(script)
        with arena.client() as client:
            assert by_sasl(client, "imap", b"john", b"\xffword") == b"a1 OK in"
        (peer,) = arena.imap.wait_peers(1)
        assert form in peer.received
    assert seen == [(b"john", b"\xffword")] * 2


AWKWARD = [
    b'"',
    b"\\",
    b'quo"te-11',
    b"back\\slash-11",
    b'\\"',
    b'"\\"\\',
    b"{5}",
    b"%s%n",
    b"a b  c",
    b" edge ",
    b"(*)",
    b"]",
]


@PROTOCOLS
def test_quotes_and_backslashes(arena: Arena, protocol: str, seen: list[tuple[bytes, bytes]]) -> None:
    """C08: the backend decodes the same bytes, whichever way they came in."""
    expected = []
    for password in AWKWARD:
        with arena.client(protocol) as client:
            assert by_sasl(client, protocol, b"john", password).startswith((b"a1 OK", b"+OK"))
        expected.append((b"john", password))
        with arena.client(protocol) as client:
            if protocol == "imap":
                reply = client.ask(b"a1 LOGIN %s %s\r\n" % (quoted(b"john"), quoted(password)))
            else:
                client.ask(b"USER john\r\n")
                reply = client.ask(b"PASS " + password + b"\r\n")
            assert reply.startswith((b"a1 OK", b"+OK")), (password, reply)
        expected.append((b"john", password))
    wait_until("the backend has recorded", lambda: len(seen) == len(expected))
    assert seen == expected


def test_awkward_user_names(arena: Arena, seen: list[tuple[bytes, bytes]]) -> None:
    """C08, C14: a name of the database with quotes or variables arrives as it is, expanded once."""
    names = [b'qu"o', b"ba\\ck", b"%u%u", b"%{x}", b"{0.__class__}", b"%(x)s", b"%n", b"$HOME", b"a b"]
    for name in names:
        arena.add(name.decode(), None)
        with arena.client() as client:
            assert client.ask(literals(name, b"a-password")).startswith(b"a1 OK"), name
    wait_until("the backend has recorded", lambda: len(seen) == len(names))
    assert seen == [(name, b"a-password") for name in names]


def test_empty_words(arena: Arena, oracles: Oracles) -> None:
    """C09: an empty user fails without a query; an empty password never matches, not even NULL or ''."""
    arena.add("empty", "")
    assert replies(arena, "imap", [b'a1 LOGIN "" x\r\n']) == [FAILED["imap"]]
    assert b"sql(" not in oracles.log_since_begin()
    users = (b"john", b"mary", b"empty")
    by_words = [b'a1 LOGIN %s ""\r\n' % user for user in users] + [b"a1 LOGIN empty something\r\n"]
    check_refused(
        arena,
        lambda protocol: [sasl(protocol, user, b"") for user in users] + by_words * (protocol == "imap"),
    )


@PROTOCOLS
@pytest.mark.parametrize("size", [255, 1024, 4096])
def test_long_words(arena: Arena, protocol: str, size: int, seen: list[tuple[bytes, bytes]]) -> None:
    """C10: the whole value or a failure; the backend never sees a prefix."""
    user = "u" * (size - 1) + protocol[0]
    password = b"p" * (size - 4) + b"-end"
    arena.add(user, None)
    for name, word in ((b"john", password), (user.encode(), b"short-word"), (user.encode(), password)):
        with arena.client(protocol) as client:
            reply = client.ask(BEGIN[protocol] + plain(name, word) + b"\r\n")
        if reply.startswith((b"a1 OK", b"+OK")):
            wait_until("the backend has recorded", lambda: seen)
            assert seen.pop() == (name, word)
        else:
            assert reply.startswith((FAILED[protocol], b"* BYE", b"-ERR")), reply
    assert not seen
