"""Code of a stranger runs in a real worker: what it gets from auth, and what it can reach."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mailproxy.process.syscall_filter import program
from tests.harness.arena import Arena
from tests.harness.raw_client import RawClient
from tests.process.conftest import MODES
from tests.process.hostile import VIOLATIONS
from tests.process.look import echoes, guest, pids, try_login

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root's rights there is no jail")

OBEDIENT = """\
import sys
from mailproxy import cli
from tests.process import hostile
hostile.install()
sys.exit(cli.main())
"""


@pytest.fixture(params=list(MODES))
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """With workers that obey; afterwards the others are as well as before (S1 to S3)."""
    arena = Arena("\n".join(("auth_debug = no", MODES[request.param], "login_processes_count = 1")))
    arena.proxy.program = ["-c", OBEDIENT]
    with arena, guest(arena) as bystander:
        auth = pids(arena, "auth")
        yield arena
        assert echoes(bystander)
        assert try_login(arena).startswith(b"a1 OK ")
        assert pids(arena, "auth") == auth


def obey(client: RawClient, name: str, *arguments: str) -> str:
    """Have the client's worker do something; returns the outcome."""
    done, _, outcome = client.ask(" ".join(("OBEY", name, *arguments)).encode() + b"\r\n").partition(b" ")
    assert done == b"DONE"
    return bytes.fromhex(outcome.decode()).decode()


def test_a_captured_worker_on_auths_socket(arena: Arena) -> None:
    """V16, A12: what breaks the protocol costs its own connection; ids are its own; 10,000 stop nobody."""
    with arena.client() as client:
        assert obey(client, "violate") == ""
        arena.proxy.wait_log("auth client ", len(VIOLATIONS))
        mine, borrowed, refused = obey(client, "borrow_id").split("\n")
        assert (mine, borrowed, refused) == ("CONT\t5\t", "FAIL\t5\treason=Timeouted", "FAIL\t5\tuser=mary")
        assert obey(client, "hold") == "10000"
        assert try_login(arena).startswith(b"a1 OK ")


def test_a_captured_worker_gets_nothing_from_auth(arena: Arena) -> None:
    """V16, A14: no login without a password, and with a refusal neither a password nor a host."""
    arena.add("rich", "Rich-Secret-44", pass_="Master-Secret-55")
    arena.proxy.secrets |= {"Rich-Secret-44", "Master-Secret-55"}
    with arena.client() as client:
        told = obey(client, "log_in", "rich").split("\n")
    named = ["rich", "rich", "guest", "rich"]
    assert told == [f"FAIL\t{number}\tuser={name}" for number, name in enumerate(named, 1)]


@pytest.mark.skipif(not program(), reason="there is no filter for system calls here")
def test_a_captured_worker_reaches_nothing(arena: Arena) -> None:
    """V16: neither the database nor a file, process or socket of others."""
    files = (arena.path, arena.proxy.sql, arena.proxy.configuration, "/etc/passwd", "/proc/self/mem")
    with arena.client() as client:
        assert obey(client, "reach", *map(str, files)) == ""
    assert [path.name for path in (arena.proxy.base_dir / "login").iterdir()] == ["default"]
