from __future__ import annotations

import pytest

from mailproxy.session.client import Client
from mailproxy.session.log_line import LogLine, login_values

ELEMENTS = "user=<%u> method=%m rip=%r lip=%l %c"


def values(
    user: str = "joe@example.org", mechanism: bytes = b"PLAIN", secured: bool = True
) -> dict[str, str]:
    return login_values(Client("10.0.0.1", "10.0.0.5", 143, 50000, secured, 77), user, mechanism, "IMAP")


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
    ],
)
def test_render(elements: str, line_format: str, line: str) -> None:
    """D11: %$ is the message, %s the elements; an element without a variable is dropped."""
    assert LogLine(elements, line_format).render("Login", values()) == line


def test_empty_elements_are_dropped() -> None:
    assert (
        LogLine(ELEMENTS, "%$: %s").render("Disconnected", values("", b"", False))
        == "Disconnected: rip=10.0.0.5, lip=10.0.0.1"
    )


def test_a_value_is_expanded_once() -> None:
    """C14: what a name holds is data."""
    line = LogLine("user=<%u> %Un", "%$: %s").render("%u%(u)s", values("%u%(r)s%%{0}@%d"))
    assert line == "%u%(u)s: user=<%u%(r)s%%{0}@%d>, %U%(R)S%%{0}"
