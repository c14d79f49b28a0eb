"""F15: a wall clock that is set forward or back moves no deadline, no delay and no cache."""

from __future__ import annotations

import ast

from tests.house.tree import modules

# Where the time of day is what is meant: in log lines, challenges, the validity of certificates, and what is
# shown to an administrator.
SAYS_THE_TIME = {
    "mailproxy.auth.mechanisms.cram_md5",
    "mailproxy.ctl",
    "mailproxy.process.auth",
    "mailproxy.process.backend_certificates",
    "mailproxy.process.certificates",
    "mailproxy.process.log_sink",
    "mailproxy.process.login",
}
WALL = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "localtime"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
}


def asks_the_wall_clock(source: str) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in WALL
        for node in ast.walk(ast.parse(source))
    )


def test_only_they_ask_who_say_it() -> None:
    found = {name for name, path in modules().items() if asks_the_wall_clock(path.read_text())}
    assert found == SAYS_THE_TIME
