"""The real auth process, seen through its socket."""

from __future__ import annotations

from pathlib import Path

from mailproxy.auth.database import Row
from tests.unit.auth.auth_child import SETTINGS, AuthChild, Table, plain

JOHN = Row(b"s", {"proxy": "Y", "host": "10.0.0.1"})


def john() -> Table:
    return Table({"john": JOHN})


def test_greeting_then_login(tmp_path: Path) -> None:
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        client = child.connect()
        assert client.greeting == [
            b"MECH\tPLAIN\tplaintext",
            b"VERSION\t1\t0",
            b"SPID\t%d" % child.pid,
            b"CUID\t1",
            b"DONE",
        ]
        client.ask(1, plain(b"john", b"s"))
        assert client.line() == b"OK\t1\tuser=john\tproxy\thost=10.0.0.1\tpass=s"
