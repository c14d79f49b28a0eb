"""Rows A11, C11, C13 and C15 with master logins, a file for each domain, and any byte in a name."""

from __future__ import annotations

import pytest

from tests.harness.arena import Arena
from tests.harness.attempts import (
    FAILED,
    PROTOCOLS,
    TEMPORARY,
    check_refused,
    record_login,
    replies,
    reply,
    sasl,
)
from tests.harness.oracles import Oracles
from tests.harness.wait import wait_until

SETTINGS = "auth_username_chars =\nauth_username_format = %Lu\n"
AUTH = """\
  master_user_separator = *
  passdb passwd-file {
    args = FOLDER/masters
    master = yes
    pass = yes
  }
  passdb passwd-file {
    args = FOLDER/domains/%d/passwd
  }
"""
MASTER = b"Master-Secret-44"
DOMAIN = b"Domain-Secret-55"


@pytest.fixture(scope="module", autouse=True)
def _files(arena: Arena) -> None:
    """One master user; a file for a good domain, and tempting ones where no name may lead."""
    folder = arena.proxy.folder
    (folder / "masters").write_text(f"proxy:{{PLAIN}}{MASTER.decode()}\n")
    fields = f"proxy host=127.0.0.1 port={arena.imap.port} nodelay"
    line = f"eve:{{PLAIN}}{DOMAIN.decode()}::::::{fields}\n"
    for place in ("domains/good.example", "domains/.hidden", "domains", ".", "evil", "domains/a\nb"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / "passwd").write_text(line)


@pytest.fixture
def seen(arena: Arena, oracles: Oracles) -> list[tuple[bytes, bytes]]:
    """What the backends of either protocol were told, decoded; depends on `oracles` to come after it."""
    told: list[tuple[bytes, bytes]] = []
    arena.imap.play(record_login("imap", told))
    arena.pop3.play(record_login("pop3", told))
    return told


def test_separator_tricks(arena: Arena, oracles: Oracles, seen: list[tuple[bytes, bytes]]) -> None:
    """C11: both halves count, the master passdb decides; only the permitted name reaches a backend."""
    oracles.keep_secret(MASTER)
    arena.add("wanted", None, destuser="wanted*backend", pass_="Backend-Secret-66")
    for name in ("wanted*proxy*proxy", "x*proxy", "proxy*proxy", "proxy"):
        arena.add(name, None)
    refused = [
        (b"wanted*", MASTER),
        (b"*proxy", MASTER),
        (b"*", MASTER),
        (b"**", MASTER),
        (b"wanted*nobody", MASTER),
        (b"wanted*john", MASTER),
        (b"wanted*proxy*proxy", MASTER),
        (b"a*b*c", MASTER),
        (b"wanted*proxy", b"any-password"),
        (b"nosuch*proxy", MASTER),
        (b"john*mary", Arena.MARY),
    ]
    check_refused(arena, lambda protocol: [sasl(protocol, user, word) for user, word in refused])
    for protocol in FAILED:
        logins = [
            sasl(protocol, b"wanted*proxy", MASTER),
            sasl(protocol, b"proxy", MASTER, b"wanted"),
            sasl(protocol, b"WANTED*Proxy", MASTER),
        ]
        assert all(b"OK in" in answer for answer in replies(arena, protocol, logins))
    wait_until("the backends have recorded", lambda: len(seen) == 6)
    assert set(seen) == {(b"wanted*backend", b"Backend-Secret-66")}


def test_only_ascii_is_folded(arena: Arena, seen: list[tuple[bytes, bytes]]) -> None:
    """C13: lookup and backend see the same string, in which no letter beyond ASCII was changed."""
    names = ["kate", "sam", "\u212aate", "\u00c4nne"]
    for name in names:
        arena.add(name, None)
    refused = ["\u017fam", "k\u0131te", "\uff4bate", "kate ", "\u00e4nne", "a\u0308nne", "\u212bnne"]
    answers = replies(arena, "imap", [sasl("imap", name.encode(), b"word") for name in refused])
    assert set(answers) == {FAILED["imap"]}
    typed = ["KATE", "SaM", "\u212aATE", "\u00c4NNE"]
    for name in typed:
        assert reply(arena, name.encode(), b"word") == b"a1 OK in"
    wait_until("the backend has recorded", lambda: len(seen) == len(typed))
    assert seen == [(name.encode(), b"word") for name in names]


def test_domain_that_leads_elsewhere(arena: Arena, oracles: Oracles, seen: list[tuple[bytes, bytes]]) -> None:
    """C15: a domain that is no plain name opens no file, however tempting."""
    oracles.keep_secret(DOMAIN)
    folder = str(arena.proxy.folder).encode()
    domains = [
        b"",
        b".",
        b"..",
        b"../evil",
        b"../../evil",
        b"/" + folder + b"/evil",
        folder + b"/evil",
        b"good.example/../../evil",
        b"good.example/",
        b"./good.example",
        b".hidden",
        b"a\nb",
        b"\x01",
        b"\x7f",
        b"..\\evil",
        b"good.example\x00",
        b"%d",
    ]
    names = [b"eve", *(b"eve@" + domain for domain in domains)]
    check_refused(arena, lambda protocol: [sasl(protocol, name, DOMAIN) for name in names])
    assert reply(arena, b"eve@good.example", DOMAIN) == b"a1 OK in"
    wait_until("the backend has recorded", lambda: seen == [(b"eve@good.example", DOMAIN)])


FORGERIES = [
    b"john\tmaster_user=root\tskip_password_check=1",
    b"mary\tproxy\thost=127.0.0.1\tpass=forged",
    b"mary\nOK\t1\tuser=mary\tproxy",
    b"mary\x01t\x01nproxy",
    b"\tuser=mary",
]


def test_fields_in_a_name(arena: Arena) -> None:
    """A11: TAB, LF and the escape itself in a user or password stay within their value."""
    check_refused(
        arena,
        lambda protocol: [
            *(sasl(protocol, name, b"any-password") for name in FORGERIES),
            *(sasl(protocol, b"mary", name) for name in FORGERIES),
        ],
    )


@PROTOCOLS
def test_fields_in_a_password(arena: Arena, protocol: str, seen: list[tuple[bytes, bytes]]) -> None:
    """A11: what only looks like fields is forwarded as it was typed, to the user's own backend."""
    words = [b"a\tuser=mary\tpass=forged", b"a\x01tuser=mary", b"\x01", b"\x01n", b"\x010"]
    for word in words:
        (answer,) = replies(arena, protocol, [sasl(protocol, b"john", word)])
        assert b"OK in" in answer, (word, answer)
    wait_until("the backend has recorded", lambda: len(seen) == len(words))
    assert seen == [(b"john", word) for word in words]


def test_fields_in_the_database(arena: Arena, seen: list[tuple[bytes, bytes]]) -> None:
    """A11: a value with TABs is a value; in a host it is an error."""
    tricky = "there\tpass=forged\thost=10.0.0.1"
    arena.add("tricky", None, destuser=tricky, pass_="a\tuser=mary\x01t")
    arena.add("tricky-host", None, host="127.0.0.1\tuser=mary")
    assert reply(arena, b"tricky", b"word") == b"a1 OK in"
    assert reply(arena, b"tricky-host", b"word").startswith(TEMPORARY["imap"])
    wait_until("the backend has recorded", lambda: seen)
    assert seen == [(tricky.encode(), b"a\tuser=mary\x01t")]
