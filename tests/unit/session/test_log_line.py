from __future__ import annotations

import pytest

from mailproxy.session.client import Client
from mailproxy.session.log_line import LogLine

ELEMENTS = "user=<%u> method=%m rip=%r lip=%l %c"


def render(
    line: LogLine,
    message: str = "Login",
    user: str = "joe@example.org",
    mechanism: bytes = b"PLAIN",
    secured: bool = True,
) -> str:
    client = Client("10.0.0.1", "10.0.0.5", 143, 50000, secured, 77)
    return line.render(message, client, user, mechanism, "IMAP")


@pytest.mark.parametrize(
    ("elements", "line_format", "line"),
    [
        (
            ELEMENTS,
            "%$: %s",
            "Login: user=<joe@example.org>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1, secured",
        ),
        ("plain %u", "%$: %s", "Login: joe@example.org"),
        ("none at all", "%$: %s", "Login: "),
        ("%n %d %s", "%s / %$", "joe, example.org, IMAP / Login"),
        ("pid=%p,%a %b", "100%% %$ (%s)", "100% Login (pid=77,143, 50000)"),
        ("%Un %5r", "%$: %s", "Login: JOE, 10.0."),
        ("%{session} x%hx %{user}", "%$: %s", "Login: joe@example.org"),
        ("a%%b %u%%", "%$: %s", "Login: joe@example.org%"),
        ("%u", "%5$|%s", "Login|joe@example.org"),
        ("%u", "%$ on %p from %b: %s", "Login on 77 from 50000: joe@example.org"),
    ],
)
def test_render(elements: str, line_format: str, line: str) -> None:
    """D11: %$ is the message, %s the elements; an element without a variable is dropped."""
    assert render(LogLine(elements, line_format)) == line


def test_empty_elements_are_dropped() -> None:
    told = render(LogLine(ELEMENTS, "%$: %s"), "Disconnected", "", b"", False)
    assert told == "Disconnected: rip=10.0.0.5, lip=10.0.0.1"


def test_a_value_is_expanded_once() -> None:
    """C14: what a name holds is data."""
    told = render(LogLine("user=<%u> %Un", "%$: %s"), "%u%(u)s", "%u%(r)s%%{0}@%d")
    assert told == "%u%(u)s: user=<%u%(r)s%%{0}@%d>, %U%(R)S%%{0}"
