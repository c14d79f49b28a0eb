"""User name rules."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailproxy.auth.usernames import Identity, UsernameRefused, UsernameRules, name_values
from tests.unit.auth.auth_child import SETTINGS


def rules(**changes: str) -> UsernameRules:
    return UsernameRules(replace(SETTINGS, **changes))  # type: ignore[arg-type]


def refusal(rule: UsernameRules, name: bytes, acts_as: bytes = b"") -> str:
    with pytest.raises(UsernameRefused) as caught:
        rule.identify(name, acts_as)
    return str(caught.value)


def test_default_realm_is_added_only_without_one() -> None:
    rule = rules(default_realm="example.com")
    assert rule.canonical(b"john") == "john@example.com"
    assert rule.canonical(b"john@here") == "john@here"


def test_translation_goes_before_the_check() -> None:
    rule = rules(username_translation="#@/@x")
    assert rule.canonical(b"john#example.com") == "john@example.com"
    assert rule.canonical(b"john/example.com") == "john@example.com"


def test_format_is_last() -> None:
    assert rules(username_format="%Lu").canonical(b"John") == "john"
    assert rules(username_format="%n", default_realm="x").canonical(b"john") == "john"


@pytest.mark.parametrize(
    ("name", "code"),
    [(b"jo'hn", "0x27"), (b"jo hn", "0x20"), (b"j\xc3\xb6", "0xc3"), (b"jo*hn", "0x2a"), (b"%u", "0x25")],
)
def test_disallowed_characters_are_named(name: bytes, code: str) -> None:
    """C13, C14: eight-bit names and expansion strings are outside the allowed set."""
    assert refusal(rules(), name) == f"Username contains disallowed character: {code}"


@pytest.mark.parametrize("byte", [b"\r", b"\n", b"\0"])
@pytest.mark.parametrize("chars", ["", "abc\r\n\0john"])
def test_line_ends_are_never_allowed(byte: bytes, chars: str) -> None:
    """C02: CR, LF and NUL are refused before any lookup, whatever is configured."""
    assert f"0x{byte[0]:02x}" in refusal(rules(username_chars=chars), b"john" + byte)


def test_empty_set_of_characters_allows_all_and_keeps_the_bytes() -> None:
    """C06: bytes survive, valid UTF-8 or not."""
    name = rules(username_chars="").canonical(b"j\xff\xc3\xb6 '")
    assert name.encode("utf-8", "surrogateescape") == b"j\xff\xc3\xb6 '"


def test_only_ascii_letters_fold() -> None:
    """C13: the Kelvin sign does not become a k."""
    rule = rules(username_chars="", username_format="%Lu")
    assert rule.canonical("\u212aELVIN".encode()) == "\u212aelvin"


def test_expansion_happens_once() -> None:
    """C14: a name that looks like a variable is data."""
    assert rules(username_chars="", username_format="%u%u").canonical(b"%n") == "%n%n"


def test_empty_name() -> None:
    """C09: an empty name fails without a lookup."""
    assert refusal(rules(default_realm="x"), b"") == "Empty username"


def test_separator_splits_at_the_first() -> None:
    """C11: login name first, then the master; the rest belongs to the master's name."""
    rule = rules(master_user_separator="*", username_chars="")
    assert rule.identify(b"victim*boss", b"") == Identity("boss", "victim", b"boss")
    assert rule.identify(b"a*b*c", b"") == Identity("b*c", "a", b"b*c")
    assert rule.identify(b"boss*boss", b"") == Identity("boss", "", b"boss")


@pytest.mark.parametrize("name", [b"*boss", b"john*", b"*"])
def test_halves_are_not_empty(name: bytes) -> None:
    """C11: no name vanishes."""
    assert refusal(rules(master_user_separator="*"), name) == "Empty username in a master login"


def test_separator_that_is_no_utf8() -> None:
    """Any byte of the configuration file may be one."""
    rule = rules(master_user_separator="\udcff", username_chars="")
    assert rule.identify(b"john\xffboss", b"") == ("boss", "john", b"boss")


def test_separator_without_master_setting_is_a_character() -> None:
    """C11: a client's `*` is refused unless master logins are configured."""
    assert "0x2a" in refusal(rules(), b"victim*boss")
    assert "0x2a" in refusal(rules(master_user_separator="*"), b"a*b*c")


def test_authorization_identity() -> None:
    """C12: another identity is a master login, never dropped or swapped."""
    rule = rules(master_user_separator="*")
    assert rule.identify(b"john", b"victim") == Identity("john", "victim", b"john")
    assert rule.identify(b"john", b"john") == Identity("john", "", b"john")
    assert "differs" in refusal(rule, b"victim*boss", b"other")
    assert "0x27" in refusal(rule, b"john", b"vic'tim")


def test_name_values() -> None:
    assert name_values("john@a@b") == {"u": "john@a@b", "n": "john", "d": "a@b"}
    assert name_values("john") == {"u": "john", "n": "john", "d": ""}
