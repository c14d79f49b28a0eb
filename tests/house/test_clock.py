"""F15: a wall clock that is set forward or back moves no deadline, no delay and no cache."""

from __future__ import annotations

import ast

import pytest

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
MODULES = {"time", "datetime", "date"}
WALL = {
    *("time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime"),
    *("now", "utcnow", "today", "CLOCK_REALTIME"),
}


def asks_the_wall_clock(source: str) -> bool:
    return any(_is_wall(node) for node in ast.walk(ast.parse(source)))


def _is_wall(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name):
            return owner in MODULES and name in WALL
        case ast.ImportFrom(module=module, names=names):
            return module in MODULES and any(alias.name in WALL for alias in names)
    return False


@pytest.mark.parametrize(
    "source",
    ["time.time()", "from time import time", "datetime.datetime.now()"],
)
def test_however_it_is_asked(source: str) -> None:
    assert asks_the_wall_clock(source)


def test_only_they_ask_who_say_it() -> None:
    found = {name for name, path in modules().items() if asks_the_wall_clock(path.read_text())}
    assert found == SAYS_THE_TIME
