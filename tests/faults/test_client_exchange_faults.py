"""Rows P15 to P21: SASL exchanges, floods and sudden ends of a client, from outside."""

from __future__ import annotations

import re
import select
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.arena import Arena
from tests.harness.oracles import Oracles, closes_within, memory_kib
from tests.harness.raw_client import RawClient, b64, plain
from tests.harness.wait import wait_until

SETTINGS = "auth_username_chars =\n"

BEGIN = {"imap": b"a AUTHENTICATE", "pop3": b"AUTH"}
BAD = {"imap": b"a BAD ", "pop3": b"-ERR "}
NO = {"imap": b"a NO ", "pop3": b"-ERR "}
FAILED = {"imap": b"a NO [AUTHENTICATIONFAILED] ", "pop3": b"-ERR [AUTH] "}
PROTOCOLS = pytest.mark.parametrize("protocol", ["imap", "pop3"])


def asks(oracles: Oracles) -> int:
    """Return how many requests auth has got in this row."""
    return oracles.log_since_begin().count(b"client in: AUTH")


@PROTOCOLS
def test_aborts(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """P15: five thousand aborted exchanges a protocol, each cancelled at auth; nothing grows."""
    before_kib = memory_kib(arena, "imap-login", "pop3-login", "auth")
    piece = (BEGIN[protocol] + b" PLAIN\r\n*\r\n") * 100
    with arena.client(protocol) as client:
        for _ in range(50):
            client.send(piece)
            for _ in range(100):
                assert client.line().startswith(b"+ ")
                assert client.line().startswith(BAD[protocol])
        assert memory_kib(arena, "imap-login", "pop3-login", "auth") - before_kib < 1024
    with arena.client(protocol) as client:
        client.ask(BEGIN[protocol] + b" CRAM-MD5\r\n")
        client.ask(b"*\r\n")
    # The log may lose lines in such a flood, but not the last one.
    last = re.compile(rb"client in: AUTH\t(\d+)\tCRAM-MD5.*client in: CANCEL\t\1\n", re.DOTALL)
    wait_until("auth has heard of the last", lambda: last.search(oracles.log_since_begin()))


@PROTOCOLS
@pytest.mark.parametrize("waits", [True, False])
def test_resets_within_an_exchange(arena: Arena, protocol: str, waits: bool) -> None:
    """P15: five hundred resets behind the challenge, and as many before it came."""
    before_kib = memory_kib(arena, "imap-login", "pop3-login", "auth")
    for _ in range(500):
        client = arena.client(protocol)
        client.send(BEGIN[protocol] + b" LOGIN\r\n")
        if waits:
            assert client.line().startswith(b"+ ")
        client.reset()
    assert memory_kib(arena, "imap-login", "pop3-login", "auth") - before_kib < 1024


@PROTOCOLS
def test_leaving_after_the_name(arena: Arena, protocol: str) -> None:
    """P15: LOGIN left or aborted after its first answer, when auth knows a name already."""
    for leave in (RawClient.reset, RawClient.close, lambda client: client.ask(b"*\r\n")):
        for _ in range(50):
            client = arena.client(protocol)
            assert client.ask(BEGIN[protocol] + b" LOGIN\r\n") == b"+ " + b64(b"Username:")
            assert client.ask(b64(b"john") + b"\r\n") == b"+ " + b64(b"Password:")
            leave(client)
            client.close()


GOOD = plain(b"john", b"John-Secret-11")
BAD_BASE64 = [
    b"!!!!",
    GOOD[:8] + b" " + GOOD[8:],
    GOOD.rstrip(b"=")[:-1] + b"=",
    GOOD.rstrip(b"=")[:-1],
    GOOD + b"AAAA",
    b"AA==AAAA",
    b"AGpvaG4A__8-",
    b"=" * 8000,
    b"A",
]


@PROTOCOLS
@pytest.mark.parametrize("initial", [True, False])
def test_bad_base64(arena: Arena, protocol: str, initial: bool, oracles: Oracles) -> None:
    """P16: the attempt ends with BAD or -ERR; the connection goes on, no lenient decoder logs anybody in."""
    for message in BAD_BASE64:
        with arena.client(protocol) as client:
            if initial:
                reply = client.ask(BEGIN[protocol] + b" PLAIN " + message + b"\r\n")
            else:
                assert client.ask(BEGIN[protocol] + b" PLAIN\r\n") == b"+ "
                reply = client.ask(message + b"\r\n")
            assert reply.startswith(BAD[protocol]), (message[:20], reply)
            assert client.ask(BEGIN[protocol] + b" PLAIN " + plain(b"mary", b"wrong") + b"\r\n").startswith(
                FAILED[protocol]
            )
    oracles.keep_secret(GOOD[4:16])
    assert not arena.imap.peers
    assert not arena.pop3.peers


@PROTOCOLS
def test_unknown_mechanisms(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """P17: a thousand names and long ones are refused, and auth hears of none."""
    with arena.client(protocol) as client:
        for start in range(0, 1000, 100):
            client.send(b"".join(b"%s NAME-%d\r\n" % (BEGIN[protocol], n) for n in range(start, start + 100)))
            for reply in client.lines(100):
                assert reply.startswith(NO[protocol]), reply
        for name in (b"N" * 300, b"PLAIN-CLIENTTOKEN", b"\xc3\xa9", b"%n%s", b"APOP", b"EXTERNAL"):
            reply = client.ask(BEGIN[protocol] + b" " + name + b"\r\n")
            assert reply.startswith((NO[protocol], BAD[protocol])), (name, reply)
    assert asks(oracles) == 0
    assert b"N" * 129 not in oracles.log_since_begin()


@PROTOCOLS
def test_mechanism_spelling(arena: Arena, protocol: str) -> None:
    """P17: `plain` is PLAIN; trailing blanks are nothing; no name is no mechanism."""
    with arena.client(protocol) as client:
        reply = client.ask(BEGIN[protocol] + b" \r\n")
        if protocol == "imap":
            assert reply.startswith(b"a BAD ")
        else:  # A bare AUTH lists the mechanisms.
            assert reply == b"+OK"
            assert b"PLAIN" in [client.line() for _ in range(4)]
        assert client.ask(BEGIN[protocol] + b" plain " + GOOD + b"\r\n").startswith((b"a OK", b"+OK"))
    with arena.client(protocol) as client:
        assert client.ask(BEGIN[protocol] + b" pLaIn  \r\n").startswith((b"+ ", b"a BAD", b"-ERR"))


@pytest.mark.parametrize("password", [b" lead-11", b"in ner-11", b"trail-11 ", b"  two  -11  ", b"tab\t-11"])
def test_pop3_password_spaces(arena: Arena, password: bytes, oracles: Oracles) -> None:
    """P18: one blank separates; the rest reaches the backend byte for byte."""
    oracles.keep_secret(password)
    with arena.client("pop3") as client:
        assert client.ask(b"USER john\r\n") == b"+OK"
        assert client.ask(b"PASS " + password + b"\r\n") == b"+OK in"
    (peer,) = arena.pop3.wait_peers(1)
    assert peer.received == b"USER john\r\nPASS " + password + b"\r\n"


def test_pop3_order_and_verbs(arena: Arena, oracles: Oracles) -> None:
    """P18: PASS first, USER twice, no password, long verbs."""
    with arena.client("pop3") as client:
        assert client.ask(b"PASS John-Secret-11\r\n").startswith(b"-ERR ")
        assert client.ask(b"USER mary\r\n") == b"+OK"
        assert client.ask(b"PASS\r\n").startswith(b"-ERR [AUTH] ")
        assert client.ask(b"USER mary\r\n") == b"+OK"
        assert client.ask(b"PASS \r\n").startswith(b"-ERR [AUTH] ")
        assert client.ask(b"USERUSERUSER john\r\n").startswith(b"-ERR ")
        assert client.ask(b"USER nobody\r\n") == b"+OK"
        assert client.ask(b"USER john\r\n") == b"+OK"
        assert client.ask(b"PASSWORDS x\r\n").startswith(b"-ERR ")
        assert client.ask(b"PASS John-Secret-11\r\n") == b"+OK in"
    (peer,) = arena.pop3.wait_peers(1)
    assert peer.received == b"USER john\r\nPASS John-Secret-11\r\n"


@PROTOCOLS
def test_flood_during_a_lookup(arena: Arena, protocol: str) -> None:
    """P19: 10 MiB pushed while the database is locked: the sender blocks; then each command runs once."""
    login = {"imap": b"a LOGIN mary wrong\r\n", "pop3": b"USER mary\r\nPASS wrong\r\n"}[protocol]
    count, size = (1400, 7600) if protocol == "imap" else (10800, 980)
    command = b"AUTH" if protocol == "pop3" else b"c NOOP"
    # A POP3 line that is harmless at any length; IMAP allows blanks at the end.
    line = command + b" " * (size - len(command)) + b"\r\n"
    flood = memoryview(line * count)
    assert len(flood) > 10 << 20
    with arena.client(protocol) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        before_kib = memory_kib(arena, f"{protocol}-login")
        arena.database.execute("BEGIN EXCLUSIVE")
        try:
            client.send(login)
            client.socket.setblocking(False)
            sent = _push(client, flood)
            assert sent < len(flood), "the proxy read it all"
            grown_kib = memory_kib(arena, f"{protocol}-login") - before_kib
            assert grown_kib < 128, f"{grown_kib} KiB"
        finally:
            arena.database.execute("ROLLBACK")
        client.socket.settimeout(15)
        with ThreadPoolExecutor(1) as reader:
            answers = reader.submit(_answers, client, protocol, count)
            client.socket.sendall(flood[sent:])
            answers.result(20)


def _push(client: RawClient, flood: memoryview) -> int:
    """Send until nobody takes more for half a second; returns how much was taken."""
    sent = 0
    while sent < len(flood) and select.select([], [client.socket], [], 0.5)[1]:
        sent += client.socket.send(flood[sent : sent + 65536])
    return sent


def _answers(client: RawClient, protocol: str, count: int) -> None:
    if protocol == "pop3":
        assert client.line() == b"+OK"
    assert client.line().startswith(FAILED[protocol])
    for _ in range(count):
        if protocol == "imap":
            assert client.line() == b"c OK NOOP completed."
        else:
            assert client.line() == b"+OK"
            while client.line() != b".":
                pass
    assert client.is_silent(0.1)


DIALOGUES = {
    "imap": b'a CAPABILITY\r\nb ID NIL\r\nc LOGIN {4+}\r\njohn "John-Secret-11"\r\nd LOGOUT\r\n',
    "pop3": b"CAPA\r\nUSER john\r\nPASS John-Secret-11\r\nNOOP\r\nQUIT\r\nmore and more and more\r\n",
}


@PROTOCOLS
@pytest.mark.parametrize("leave", ["fin", "rst"])
def test_end_at_every_offset(arena: Arena, protocol: str, leave: str) -> None:
    """P20: FIN and RST at every byte of a login; the backend's connection is closed if there was one."""
    backend = arena.imap if protocol == "imap" else arena.pop3
    data = DIALOGUES[protocol]
    for offset in range(len(data) + 1):
        client = arena.client(protocol)
        client.send(data[:offset])
        if leave == "rst":
            client.reset()
            continue
        client.half_close()
        closes_within(client, 2.0)
        client.close()
    wait_until(
        "every backend's connection is closed",
        lambda: all(peer.is_over.is_set() for peer in backend.peers),
    )


@PROTOCOLS
@pytest.mark.parametrize("leave", ["fin", "rst"])
def test_end_within_a_login_step_by_step(arena: Arena, protocol: str, leave: str) -> None:
    """P20: the same when each step's answer was awaited first, a SASL exchange and the session included."""
    steps = {
        "imap": [b"a AUTHENTICATE LOGIN", b64(b"john"), b64(b"John-Secret-11"), b"x NOOP"],
        "pop3": [b"AUTH LOGIN", b64(b"john"), b64(b"John-Secret-11"), b"NOOP"],
    }[protocol]
    for count in range(len(steps) + 1):
        client = arena.client(protocol)
        for step in steps[:count]:
            assert client.ask(step + b"\r\n")
        client.reset() if leave == "rst" else client.close()
    backend = arena.imap if protocol == "imap" else arena.pop3
    backend.wait_peers(2)


@PROTOCOLS
def test_half_a_command(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """P21: half a command, then FIN: the end of input, and nobody spins."""
    half = b"a LOGIN john" if protocol == "imap" else b"USER john"
    clients = [arena.client(protocol) for _ in range(20)]
    for client in clients:
        client.send(half)
        client.half_close()
    oracles.check_idle(0.5)
    for client in clients:
        assert closes_within(client, 2.0) == b""
        client.close()


@PROTOCOLS
def test_eof_during_a_lookup(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """P21, P20: FIN while auth works: no spin, and the lookup's answer reaches nobody."""
    login = {"imap": b"a LOGIN john x-secret-x\r\n", "pop3": b"USER john\r\nPASS x-secret-x\r\n"}[protocol]
    arena.database.execute("BEGIN EXCLUSIVE")
    try:
        clients = [arena.client(protocol) for _ in range(20)]
        for client in clients:
            client.send(login)
            client.half_close()
        oracles.check_idle(1.0)
    finally:
        arena.database.execute("ROLLBACK")
    for client in clients:
        closes_within(client, 2.0)
        client.close()
    assert not arena.imap.peers
    assert not arena.pop3.peers
