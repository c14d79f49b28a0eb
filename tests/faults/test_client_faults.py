"""Rows P02 to P14: hostile input before the login, on the sockets of the running proxy."""

from __future__ import annotations

import re

import pytest

from tests.harness.arena import Arena
from tests.harness.oracles import Oracles, closes_within, memory_kib
from tests.harness.raw_client import plain

SETTINGS = "auth_username_chars =\n"


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_line_without_end(arena: Arena, protocol: str) -> None:
    """P02: no LF within 70 000 bytes: a farewell and the end at once."""
    with arena.client(protocol) as client:
        client.send(b"A" * 70000)
        rest = closes_within(client, 1.0)
    assert rest.startswith(b"* BYE " if protocol == "imap" else b"-ERR ")
    assert rest.count(b"\r\n") == 1
    assert b"AAAA" not in rest


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("size", [1, 7, 1448])
def test_large_initial_response_in_pieces(arena: Arena, protocol: str, size: int, oracles: Oracles) -> None:
    """P03: a response of 6000 bytes arrives whole in any split."""
    backend = arena.imap if protocol == "imap" else arena.pop3
    password = b"Pw-%s-end" % (b"x" * 4500)
    oracles.keep_secret(b"Pw-xxxx", b"xxxx-end")
    message = plain(b"john", password)
    assert len(message) >= 6000
    verb = b"a1 AUTHENTICATE PLAIN " if protocol == "imap" else b"AUTH PLAIN "
    data = verb + message + b"\r\n"
    with arena.client(protocol) as client:
        for at in range(0, len(data), size):
            client.send(data[at : at + size])
        assert client.line() == (b"a1 OK in" if protocol == "imap" else b"+OK in")
    (peer,) = backend.wait_peers(1)
    assert bytes(peer.received).count(password) == 1


@pytest.mark.parametrize(
    "count",
    [b"", b"-1", b"+5", b"1_0", b" 5", "٣".encode(), b"0x5", b"5++", b"9" * 20, b"4294967296", b"9" * 5000],
)
def test_malformed_literal_count(arena: Arena, count: bytes) -> None:
    """P04: BAD, no continuation, and what follows is a new command."""
    with arena.client() as client:
        client.send(b"a LOGIN {%s}\r\nb NOOP\r\n" % count)
        assert client.line().startswith(b"a BAD ")
        assert client.line().startswith(b"b OK ")


def test_huge_literals_cost_nothing(arena: Arena) -> None:
    """P05: 400 MB announced on 20 connections: no continuation, no memory."""
    before_kib = memory_kib(arena, "imap-login")
    clients = [arena.client() for _ in range(20)]
    for client in clients:
        client.send(b"a LOGIN {400000000}\r\n")
    for client in clients:
        assert closes_within(client, 1.0).startswith(b"* BYE ")
        client.close()
    assert memory_kib(arena, "imap-login") - before_kib < 1024


def test_memory_follows_the_bytes_of_a_literal(arena: Arena) -> None:
    """P05: within the limit nothing is allocated ahead."""
    before_kib = memory_kib(arena, "imap-login")
    clients = [arena.client() for _ in range(200)]
    for client in clients:
        assert client.ask(b"a LOGIN {8000}\r\n").startswith(b"+")
    # 200 times 8000 bytes would be 1600 KiB; a connection itself may take its 4 KiB.
    assert memory_kib(arena, "imap-login") - before_kib < 200 * 6
    for client in clients:
        client.close()


def test_non_synchronising_literals(arena: Arena) -> None:
    """P06: one write logs in, without any continuation."""
    with arena.client() as client:
        assert client.ask(b"a LOGIN {4+}\r\njohn {14+}\r\nJohn-Secret-11\r\n") == b"a OK in"
    (peer,) = arena.imap.wait_peers(1)
    assert peer.received.endswith(b' LOGIN "john" "John-Secret-11"\r\n')


@pytest.mark.parametrize("word", [b"FOO", b"NOOP", b"LOGIN john x y"])
def test_literal_of_a_refused_command_is_data(arena: Arena, word: bytes) -> None:
    """P07: the announced bytes never run, synchronising or not."""
    with arena.client() as client:
        data = b"c LOGIN john John-Secret-11\r\n"
        client.send(b"a %s {%d}\r\n" % (word, len(data)))
        reply = client.line()
        if reply.startswith(b"+"):
            client.send(data + b"\r\n")
            reply = client.line()
        assert reply.startswith(b"a BAD "), reply
        client.send(b"b %s {%d+}\r\n%s\r\nd NOOP\r\n" % (word, len(data), data))
        assert client.line().startswith(b"b BAD ")
        assert client.line().startswith(b"d OK ")
    assert not arena.imap.peers


def test_nested_lists_are_bounded(arena: Arena) -> None:
    """P08: thousands of `(` on a hundred connections: a few KiB each; with their line end BAD."""
    before_kib = memory_kib(arena, "imap-login")
    clients = [arena.client() for _ in range(100)]
    for client in clients:
        client.send(b"a ID " + b"(" * 4000)
    assert clients[0].is_silent(0.2)
    assert memory_kib(arena, "imap-login") - before_kib < 32 * 100
    for client in clients:
        assert client.ask(b"\r\n").startswith(b"a BAD ")
        client.close()


def test_id_limits(arena: Arena) -> None:
    """P09: 30 pairs are fine; 31 pairs, a value of 1025 bytes or a nested list are not; NOOP still works."""
    pairs = b" ".join(b'"k%d" NIL' % i for i in range(30))
    long_value = b'"k" "%s"' % (b"v" * 1025)
    for arguments, verdict in (
        (b"NIL", b"OK"),
        (b"(%s)" % pairs, b"OK"),
        (b'(%s "k" "v")' % pairs, b"BAD"),
        (b"(%s)" % long_value, b"BAD"),
        (b'("k" ("v"))', b"BAD"),
        (b'(NIL "v")', b"BAD"),
    ):
        with arena.client() as client:
            reply = client.ask(b"a ID %s\r\n" % arguments)
            reply = client.line() if reply.startswith(b"* ID") else reply
            assert reply.startswith(b"a " + verdict), (arguments[:50], reply)
            assert client.ask(b"b NOOP\r\n").startswith(b"b OK ")


@pytest.mark.parametrize("tag", [b"T" * 5000, b"x\0%n", b"*", b"+", b"a+b", b'q"q', b"(%s", b"\xff\xfe", b""])
def test_hostile_tag(arena: Arena, tag: bytes) -> None:
    """P10: `* BAD`; the tag is neither echoed nor used."""
    with arena.client() as client:
        reply = client.ask(tag + b" NOOP\r\n")
        assert reply.startswith(b"* BAD "), reply
        if len(tag) > 1:
            assert tag not in reply
        assert client.ask(tag + b" LOGIN john John-Secret-11\r\n").startswith(b"* BAD ")
    assert not arena.imap.peers


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_http_request(arena: Arena, protocol: str) -> None:
    """P11: the third bad command ends it; nothing is reflected, the body never runs."""
    body = {
        "imap": b"a LOGIN john John-Secret-11\r\n",
        "pop3": b"USER john\r\nPASS John-Secret-11\r\n",
    }
    request = (
        b"POST /mirrored-path HTTP/1.1\r\nHost: mirrored-host\r\nContent-Length: 200\r\n"
        b"User-Agent: mirrored-agent\r\n\r\n"
    )
    with arena.client(protocol) as client:
        client.send(request + body[protocol])
        rest = closes_within(client, 2.0)
    assert b"mirrored" not in rest
    assert b"OK" not in rest
    assert not arena.imap.peers
    assert not arena.pop3.peers


@pytest.mark.parametrize(
    "line",
    [
        b'a LOGIN "jo\0hn" John-Secret-11',
        b"a LOGIN jo\0hn John-Secret-11",
        b'a LOGIN "john\0" John-Secret-11',
        b'a LOGIN "john" "John-Secret-11\0"',
        b"a LOGIN john\0 John-Secret-11",
    ],
)
def test_nul_in_an_imap_line(arena: Arena, line: bytes, oracles: Oracles) -> None:
    """P12: BAD; never a shorter string, and no lookup."""
    with arena.client() as client:
        assert client.ask(line + b"\r\n").startswith(b"a BAD ")
        assert client.ask(b"b NOOP\r\n").startswith(b"b OK ")
    assert not arena.imap.peers
    assert b"client in: AUTH" not in oracles.log_since_begin()


def test_nul_in_a_literal(arena: Arena, oracles: Oracles) -> None:
    """P12: a literal may hold NUL, but no login is made of it: refused without a lookup."""
    with arena.client() as client:
        client.send(b"a LOGIN {5+}\r\njo\0hn {14+}\r\nJohn-Secret-11\r\n")
        assert client.line().startswith((b"a BAD ", b"a NO [AUTHENTICATIONFAILED] "))
    assert not arena.imap.peers
    assert b"client in: AUTH" not in oracles.log_since_begin()


def test_nul_in_a_pop3_line(arena: Arena, oracles: Oracles) -> None:
    """P12: -ERR; never a shorter string, and no lookup."""
    with arena.client("pop3") as client:
        assert client.ask(b"USER jo\0hn\r\n").startswith(b"-ERR ")
        assert client.ask(b"USER john\r\n").startswith(b"+OK")
        assert client.ask(b"PASS John-Secret-11\0x\r\n").startswith(b"-ERR ")
    assert not arena.pop3.peers
    assert b"client in: AUTH" not in oracles.log_since_begin()


ODD_ENDS = [b"\r", b"\r\r\n", b"\x0b", b"\x0c", b"\x1c", b"\x85", "\u2028".encode()]


@pytest.mark.parametrize("odd", ODD_ENDS)
@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_odd_line_ends(arena: Arena, protocol: str, odd: bytes) -> None:
    """P13: only LF and CRLF end a line; anything else makes one bad command of both."""
    one, two = (b"a NOOP", b"b LOGOUT") if protocol == "imap" else (b"CAPA", b"QUIT")
    if odd == b"\r\r\n":
        two = b""
    with arena.client(protocol) as client:
        reply = client.ask(one + odd + two + (b"" if odd.endswith(b"\n") else b"\r\n"))
        assert reply.startswith(b"a BAD " if protocol == "imap" else b"-ERR "), reply
        follow = b"c NOOP\r\n" if protocol == "imap" else b"AUTH\r\n"
        assert client.ask(follow).startswith(b"c OK " if protocol == "imap" else b"+OK")


def test_bare_lf_ends_a_line(arena: Arena) -> None:
    """P13: LF alone is a line end, on both protocols."""
    with arena.client() as client:
        assert client.ask(b"a NOOP\n").startswith(b"a OK ")
    with arena.client("pop3") as client:
        client.send(b"QUIT\n")
        assert client.rest().startswith(b"+OK")


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_pipelined_behind_a_success(arena: Arena, protocol: str) -> None:
    """P14: forwarded once, in order, after the backend's OK."""
    backend = arena.imap if protocol == "imap" else arena.pop3
    behind = b"".join(b"b%d NOOP\r\n" % i for i in range(300))
    login = {
        "imap": b"a1 LOGIN john John-Secret-11\r\n",
        "pop3": b"USER john\r\nPASS John-Secret-11\r\n",
    }
    with arena.client(protocol) as client:
        client.send(login[protocol] + behind)
        if protocol == "pop3":
            assert client.line() == b"+OK"
        assert client.line() == (b"a1 OK in" if protocol == "imap" else b"+OK in")
        assert client.take(len(behind)) == behind
    (peer,) = backend.wait_peers(1)
    assert bytes(peer.received).count(behind) == 1
    assert peer.received.endswith(b"11" + (b'"' if protocol == "imap" else b"") + b"\r\n" + behind)


def test_pipelined_behind_a_failure(arena: Arena) -> None:
    """P14: executed once by the proxy."""
    with arena.client() as client:
        client.send(b"a1 LOGIN mary wrong\r\nb1 NOOP\r\nb2 FOO\r\nb3 LOGOUT\r\n")
        replies = client.rest().split(b"\r\n")
    assert [re.sub(rb"[.].*", b"", r)[:5] for r in replies] == [
        b"a1 NO",
        b"b1 OK",
        b"b2 BA",
        b"* BYE",
        b"b3 OK",
        b"",
    ]
    with arena.client("pop3") as client:
        client.send(b"USER mary\r\nPASS wrong\r\nCAPA\r\nFOO\r\nQUIT\r\n")
        replies = client.rest().split(b"\r\n")
    assert replies[0] == b"+OK"
    assert replies[1].startswith(b"-ERR [AUTH] ")
    assert replies[2] == b"+OK"
    assert replies.count(b".") == 1
    assert [r[:4] for r in replies[replies.index(b".") + 1 :]] == [b"-ERR", b"+OK ", b""]
    assert not arena.imap.peers
    assert not arena.pop3.peers


def test_parsing_is_not_quadratic(arena: Arena) -> None:
    """P02, X13: a full line byte by byte costs little CPU."""
    (worker,) = arena.proxy.children("imap-login")
    with arena.client() as client:
        before = sum(worker.cpu_times()[:2])
        for _ in range(8000):
            client.send(b"x")
        client.send(b"\r\n")
        assert client.line().startswith(b"* BAD ")
        used_s = sum(worker.cpu_times()[:2]) - before
    # 8000 system calls are most of it; twice the row's figure leaves room for the clock's ticks.
    assert used_s < 0.25, f"{used_s:.3f} s"
