"""%-variables: the rules of Dovecot 1.0, with the two differences that the module names."""

from __future__ import annotations

import hashlib

import pytest

from mailproxy.base.variables import AUTH_VARIABLES, parse

JOHN = {"u": "John@Example.com", "n": "John", "d": "Example.com", "s": "imap", "r": "10.0.0.9", "p": "1234"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""),
        ("plain", "plain"),
        ("%u", "John@Example.com"),
        ("<%n at %d>", "<John at Example.com>"),
        ("%u%u", "John@Example.comJohn@Example.com"),
        ("100%%", "100%"),
        ("%%u", "%u"),
        ("%", ""),
        ("a%", "a"),
        ("a%5L", "a"),
        ("%Lu", "john@example.com"),
        ("%UE n", "n"),
        ("%Un", "JOHN"),
        ("%2u", "Jo"),
        ("%2.3u", "hn@"),
        ("%02.3u", "hn@"),
        ("%99.u", ""),
        ("%-3.u", "com"),
        ("%-3.2u", "co"),
        ("%-99.n", "John"),
        ("%06n", "00John"),
        ("%03n", "John"),
        ("%0.06n", "00John"),
        ("%Rn", "nhoJ"),
        ("%LRn", "nhoj"),
        ("%Xp", "4d2"),
        ("%08Xp", "000004d2"),
        ("%Dd", "Example,dc=com"),
        ("%Mn", hashlib.md5(b"John").hexdigest()),
        ("%Hn", f"{((0x4A * 16 + 0x6F) * 16 + 0x68) * 16 + 0x6E:x}"),
        ("%2.256Hn", "ee"),
        ("%{user}/%{username}/%{domain}/%{service}", "John@Example.com/John/Example.com/imap"),
        ("%L{user}", "john@example.com"),
        ("%{rip}%{remote_ip}", "10.0.0.910.0.0.9"),
        ("%{unclosed", "unclosed"),
        ("%m", ""),
        ("%zx", "x"),
    ],
)
def test_expand(text: str, expanded: str) -> None:
    assert parse(text).expand(JOHN) == expanded


def test_a_value_is_data() -> None:
    """C14: what a value holds is never read as a template."""
    for value in ("%u%u", "%{x}", "{0.__class__}", "%(x)s", "%n", "$HOME", "\\1"):
        assert parse("<%u>").expand({"u": value}) == f"<{value}>"
        assert parse("%u").expand({"u": value}) == value


def test_only_ascii_is_folded() -> None:
    """C13: the Kelvin sign is no k, the dotless i no I, the long s no S."""
    assert parse("%Lu").expand({"u": "\u212aELVIN\u0130"}) == "\u212aelvin\u0130"
    assert parse("%Uu").expand({"u": "\u0131\u017f\xdfa"}) == "\u0131\u017f\xdfA"


def test_the_cut_comes_before_the_escape() -> None:
    assert parse("%2Eu").expand({"u": "a'b"}) == "a\\'"
    assert parse("%Eu").expand({"u": "\"'\\"}) == "\\\"\\'\\\\"


def test_any_bytes_survive() -> None:
    name = b"\xff\xfej\xc3\xa9".decode("utf-8", "surrogateescape")
    assert parse("%u").expand({"u": name}) == name
    assert parse("%0.4u").expand({"u": name}).encode("utf-8", "surrogateescape") == b"\xff\xfej\xc3"


def test_hash_stays_in_32_bits() -> None:
    assert len(parse("%Hu").expand({"u": "x" * 200})) <= 8


def test_letters_and_unknown() -> None:
    """S10: an unknown variable is named, so that the caller can refuse it."""
    template = parse("%Lu %d %u %2.3n %% %{session} %q %{nonsense} %{u}")
    assert template.letters == ("u", "d", "n", "session")
    assert template.unknown == ("q", "nonsense", "{u}")
    assert parse("%a", AUTH_VARIABLES).unknown == ("a",)
    assert parse("%!").unknown == ("!",)
    assert parse("100%").unknown == ("",)
