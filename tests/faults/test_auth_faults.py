"""Rows A14, A19, A22, A24 and S09: what auth says to whom, when, and what it keeps to itself."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from tests.harness.arena import MAIN, Arena
from tests.harness.attempts import FAILED, OK, PROTOCOLS, TEMPORARY, literals, replies, sasl
from tests.harness.oracles import Oracles
from tests.harness.proxy import Proxy
from tests.harness.raw_client import plain
from tests.harness.scripted_backend import Peer
from tests.harness.wait import wait_until


def ask_auth(arena: Arena, response: bytes) -> bytes:
    """Log in on auth's socket as a worker does; returns the line of the answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(arena.proxy.base_dir / "login" / "default"))
        client.sendall(b"VERSION\t1\t0\nCPID\t%d\n" % os.getpid())
        client.sendall(b"AUTH\t1\tPLAIN\tservice=imap\tlip=127.0.0.1\trip=127.0.0.1\tresp=%s\n" % response)
        data = b""
        while not data.endswith(b"\n") or data.endswith(b"DONE\n"):
            data += client.recv(65536)
        return data.rpartition(b"DONE\n")[2]


def test_refusals_tell_a_worker_nothing(arena: Arena, oracles: Oracles) -> None:
    """A14: FAIL has the name and no more, above all no password, hash or host."""
    oracles.keep_secret(b"Backend-Secret-77", b"Stored-Secret-88")
    fields = {"destuser": "there", "pass_": "Backend-Secret-77"}
    arena.add("gerda", "Stored-Secret-88", **fields)
    assert ask_auth(arena, plain(b"gerda", b"wrong-word")) == b"FAIL\t1\tuser=gerda\n"
    arena.database.execute("UPDATE users SET host = NULL WHERE user = 'gerda'")
    assert ask_auth(arena, plain(b"gerda", b"Stored-Secret-88")) == b"FAIL\t1\tuser=gerda\ttemp\n"
    arena.database.execute("UPDATE users SET host = '127.0.0.1' WHERE user = 'gerda'")
    assert b"\tpass=Backend-Secret-77" in ask_auth(arena, plain(b"gerda", b"Stored-Secret-88"))


@PROTOCOLS
def test_failures_wait_and_others_do_not(arena: Arena, protocol: str) -> None:
    """A19: 200 refusals wait for their beat; a good login and one with nodelay do not wait behind them."""
    crowd = [arena.client(protocol) for _ in range(200)]
    start = time.monotonic()
    for client in crowd:
        client.send(sasl(protocol, b"nobody", b"any-password"))
    arena.login(protocol, b"guest", arena.GUEST).close()
    assert replies(arena, protocol, [sasl(protocol, b"mary", b"wrong")]) == [FAILED[protocol]]
    assert time.monotonic() - start < 1
    assert {client.line() for client in crowd} == {FAILED[protocol]}
    assert time.monotonic() - start < 2.5
    for client in crowd:
        client.close()
    house = arena.house_imap if protocol == "imap" else arena.house_pop3
    house.wait_peers(1)
    house.peers.clear()


def test_answers_reach_who_asked(arena: Arena) -> None:
    """A24: a thousand clients leave while the database is slow; each one that comes after gets his own."""

    def greet_by_name(peer: Peer) -> None:
        peer.send(b"* OK backend\r\n")
        tag, user, password = peer.imap_login()
        peer.send(b"%s OK %s %s\r\n" % (tag, user, password))
        peer.until_end()

    arena.imap.play(greet_by_name)
    for number in range(100):
        arena.add(f"person{number}", None)
    for _ in range(10):
        arena.database.execute("BEGIN EXCLUSIVE")
        stayed = []
        for number in range(100):
            leaver = arena.client()
            leaver.send(literals(b"john", b"leaver-word"))
            leaver.reset()
            client = arena.client()
            client.send(literals(b"person%d" % number, b"word%d" % number))
            stayed.append(client)
        arena.database.execute("ROLLBACK")
        expected = [b"a1 OK person%d word%d" % (number, number) for number in range(100)]
        assert [client.line() for client in stayed] == expected
        for client in stayed:
            client.close()
    assert all(b"leaver-word" not in peer.received for peer in arena.imap.peers)
    wait_until("all are over", lambda: all(peer.is_over.is_set() for peer in arena.imap.peers))


@pytest.mark.parametrize(
    ("columns", "password", "verdict"),
    [
        ("password, host", None, OK["imap"]),
        ("password, host", "", FAILED["imap"]),
        ("host", None, TEMPORARY["imap"]),
    ],
    ids=["NULL", "empty", "missing"],
)
def test_three_kinds_of_password(columns: str, password: str | None, verdict: bytes) -> None:
    """A22: NULL lets any password pass, '' lets none, and a query without the column is our fault."""
    query = f"SELECT {columns}, imap_port AS port, 'Y' AS proxy, 'Y' AS nodelay FROM users WHERE user = '%u'"
    arena = Arena(query=query)
    arena.add("hilda", password)
    with arena:
        logins = [sasl("imap", b"hilda", typed) for typed in (b"one-word", b"NULL")]
        assert all(answer.startswith(verdict) for answer in replies(arena, "imap", logins))
        if verdict == TEMPORARY["imap"]:
            arena.proxy.wait_log("Password query must return a field named 'password'", 2)


DATABASE_PASSWORD = "Tr0ub4dor-S09"
SQL = """\
driver = {driver}
connect = host=127.0.0.1 port=1 dbname=mail user=dovecot password={password}
password_query = SELECT NULL AS password, host, 'Y' AS proxy FROM proxy WHERE user = '%u'
"""


def memory_has(pid: int, word: bytes) -> bool:
    """Look for a word in all that a process may read; at borders of 16 MiB pieces it may be missed."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, rights, *_ = line.split()
            start, end = (int(address, 16) for address in area.split("-"))
            if not rights.startswith("r") or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            for at in range(start, end, 16 << 20):
                memory.seek(at)
                try:
                    if word in memory.read(min(16 << 20, end - at)):
                        return True
                except OSError:
                    break
    return False


@pytest.mark.parametrize("driver", ["mysql", "pgsql"])
def test_password_of_the_database(driver: str) -> None:
    """S09: in no log, title or environment, and in the memory of no process but auth."""
    word = DATABASE_PASSWORD.encode()
    with Proxy([DATABASE_PASSWORD]) as proxy:
        proxy.write(
            MAIN.format(settings="", per_connection="no", mechanisms="plain", sql=proxy.sql, auth=""),
            SQL.format(driver=driver, password=DATABASE_PASSWORD),
        )
        proxy.start()
        old = set(proxy.processes())
        proxy.sighup()
        wait_until("all but the master are new", lambda: len(old & set(proxy.processes())) == 1)
        proxy.wait_ready()
        with socket.create_connection(("127.0.0.1", proxy.imap_port), 10) as client:
            client.sendall(sasl("imap", b"john", b"any-password"))
            wait_until("it is refused", lambda: b"[UNAVAILABLE]" in client.recv(4096))
        proxy.wait_log(f"{driver}: Connect failed to ")
        (auth,) = proxy.children("auth")
        processes = proxy.processes()
        assert len(processes) >= 4
        for process in processes:
            proc = Path(f"/proc/{process.pid}")
            assert word not in (proc / "cmdline").read_bytes()
            assert word not in (proc / "environ").read_bytes()
            assert memory_has(process.pid, word) == (process == auth), process
