"""Rows S01 to S07 and S10: names aimed at the query, and databases in a bad state."""

from __future__ import annotations

import shutil

import pytest

from tests.harness.arena import Arena
from tests.harness.oracles import Oracles
from tests.harness.raw_client import plain
from tests.harness.scripted_backend import Peer
from tests.harness.wait import wait_until

SETTINGS = "auth_username_chars =\n"
FAILED = b"a1 NO [AUTHENTICATIONFAILED] Authentication failed."
TEMPORARY = b"a1 NO [UNAVAILABLE] Temporary authentication failure."


def replies(arena: Arena, users: list[bytes], password: bytes = b"any-password") -> list[bytes]:
    """Return the reply to a login as each, all at once: failures are delayed."""
    clients = [arena.client() for _ in users]
    for client, user in zip(clients, users, strict=True):
        client.send(b"a1 AUTHENTICATE PLAIN " + plain(user, password) + b"\r\n")
    lines = [client.line() for client in clients]
    for client in clients:
        client.close()
    return lines


def test_hostile_names_are_only_names(arena: Arena, oracles: Oracles) -> None:
    """S01, S02, S03, S04: quotes, comments, statements, backslashes, wildcards match nobody."""
    names = [
        b"' OR '1'='1",
        b"john' --",
        b"john'/*",
        b"'; DROP TABLE users; --",
        b"x' UNION SELECT NULL, '127.0.0.1', '', NULL, 'Y', 'Y', 1 --",
        b'" OR ""="',
        b"x\\' OR 1=1 -- ",
        b"\xbf' OR 1=1 -- ",
        b"trailing\\",
        b"\xff\xfe",
        b"%",
        b"_",
        b"j%",
        b"joh_",
        b"john;",
        b"JOHN",
        b" john",
        b"john ",
        b":user",
        b"?",
        b"%(user)s",
    ]
    assert set(replies(arena, names)) == {FAILED}
    assert not arena.imap.peers
    assert arena.database.execute("SELECT count(*) FROM users WHERE user = 'john'").fetchone() == (1,)
    assert b" Error: " not in oracles.log_since_begin()


def test_hostile_names_that_exist(arena: Arena) -> None:
    """S01, S02: such a name in the table is found, and nobody else."""
    names = ["o'brien", "x' OR '1'='1", "back\\", "a%", "semi;colon"]
    for name in names:
        arena.add(name, None)
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.send(b"* OK backend\r\n")
        tag, user, _ = peer.imap_login()
        seen.append(user)
        peer.send(tag + b" OK in\r\n")
        peer.until_end()

    arena.imap.play(script)
    assert replies(arena, [name.encode() for name in names]) == [b"a1 OK in"] * len(names)
    assert sorted(seen) == sorted(name.encode() for name in names)


def test_two_rows(arena: Arena, oracles: Oracles) -> None:
    """S05: two rows for one user are our fault, never the first row."""
    arena.add("twice", None)
    arena.add("twice", None)
    assert replies(arena, [b"twice"]) == [TEMPORARY]
    assert b"multiple matches" in oracles.log_since_begin()
    assert not arena.imap.peers


def test_odd_values(arena: Arena) -> None:
    """S06, A23: an empty destuser is none; no host, or no true port, is temporary."""
    arena.add("nohost", None, host=None)
    arena.add("emptyhost", None, host="")
    arena.add("named", None, host="localhost")
    for number, port in enumerate(("0", "70000", "143x", "-1", "1.5")):
        arena.add(f"port{number}", None, port)
    arena.add("text", None, str(arena.imap.port))
    arena.add("nopass", None, pass_="")
    users = [b"nohost", b"emptyhost", *(b"port%d" % number for number in range(5))]
    assert set(replies(arena, users)) == {TEMPORARY}
    assert not arena.imap.peers
    good = [b"text", b"nopass", b"named"]
    assert replies(arena, good) == [b"a1 OK in"] * 3
    words = {bytes(peer.received).split(b" ", 2)[2] for peer in arena.imap.wait_peers(3)}
    assert words == {b'"%s" "any-password"\r\n' % user for user in good}


def test_destuser_and_pass(arena: Arena) -> None:
    """S06, S7: the database's name and password go to the backend, and only they."""
    arena.add("renamed", "typed-secret", destuser="there@example.com", pass_="Master-77")
    assert replies(arena, [b"renamed"], b"typed-secret") == [b"a1 OK in"]
    (peer,) = arena.imap.wait_peers(1)
    assert peer.received.endswith(b' LOGIN "there@example.com" "Master-77"\r\n')
    assert b"typed-secret" not in peer.received


def test_locked_database(arena: Arena) -> None:
    """S07: a lock is temporary within the query's time; it recovers by itself."""
    arena.database.execute("BEGIN EXCLUSIVE")
    try:
        assert replies(arena, [b"john", b"mary"]) == [TEMPORARY] * 2
    finally:
        arena.database.execute("ROLLBACK")
    assert replies(arena, [b"john"]) == [b"a1 OK in"]


def test_database_goes_away(arena: Arena, oracles: Oracles) -> None:
    """S07: a missing file, a foreign one and a lost schema are temporary; each is over without a restart."""
    aside = arena.path.with_suffix(".aside")
    arena.path.rename(aside)
    try:
        assert replies(arena, [b"john", b"nobody"]) == [TEMPORARY] * 2
        arena.path.write_bytes(b"this is not a database at all, " * 100)
        arena.path.chmod(0o644)
        assert replies(arena, [b"john"]) == [TEMPORARY]
        arena.path.unlink()
        arena.path.touch(0o644)
        assert replies(arena, [b"john"]) == [TEMPORARY]
    finally:
        arena.path.unlink(missing_ok=True)
        aside.rename(arena.path)
    wait_until("logins work again", lambda: replies(arena, [b"john"]) == [b"a1 OK in"])
    assert b" Error: auth(default): " in oracles.log_since_begin()


def test_database_absent_at_start() -> None:
    """S07: the proxy starts without its database, says temporary, and works when it comes."""
    with Arena() as arena:
        arena.proxy.stop()
        aside = arena.path.with_suffix(".aside")
        shutil.move(arena.path, aside)
        arena.proxy.start()
        assert replies(arena, [b"john"]) == [TEMPORARY]
        shutil.move(aside, arena.path)
        assert replies(arena, [b"john"]) == [b"a1 OK in"]


@pytest.mark.parametrize(
    ("condition", "user"),
    [
        ("user || '@x' = '%n@x'", "ann"),
        ("user || '%%' = '%u%%'", "ann"),
        ("user || '-' || 'imap' = '%u-%s'", "ann"),
        ("user = lower('%Lu')", "ann"),
        ("'%d' = '' AND user = '%n'", "ann"),
    ],
)
def test_templates(condition: str, user: str) -> None:
    """S10: `%%`, joined variables and variables inside a longer literal become one parameter."""
    query = "SELECT password, host, imap_port AS port, 'Y' AS proxy FROM users WHERE " + condition
    arena = Arena(query=query)
    arena.add(user, None)
    with arena:
        assert replies(arena, [user.encode()]) == [b"a1 OK in"]


def test_unknown_variable() -> None:
    """S10: a variable that nobody knows is an error at the start, which names the file."""
    arena = Arena(query="SELECT password FROM users WHERE user = '%@'")
    try:
        arena.proxy.start(wait=False)
        wait_until("the start is refused", lambda: "%@" in arena.proxy.tail())
        assert arena.proxy.sql.name in arena.proxy.tail()
    finally:
        arena.close()
