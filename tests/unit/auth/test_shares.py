"""Users and the processes of a section that they belong to."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from dataclasses import replace

import pytest

from mailproxy.auth.shares import Shares
from tests.unit.auth.auth_child import SETTINGS


def shares(count: int = 4, **settings: str) -> Shares:
    return Shares.of_section(replace(SETTINGS, count=count, **settings))  # type: ignore[arg-type]


def plain(user: bytes, acts_as: bytes = b"") -> bytes:
    return b64encode(acts_as + b"\0" + user + b"\0secret")


def test_names_begin_with_that_of_the_section() -> None:
    assert shares(1).names == ("default",)
    assert shares(3).names == ("default", "default.2", "default.3")


def test_users_are_spread_evenly() -> None:
    spread = shares(4)
    found = Counter(spread.number_for(b"PLAIN", plain(b"user%d@example.com" % i)) for i in range(4000))
    assert set(found) == {0, 1, 2, 3}
    assert min(found.values()) > 800


def test_the_same_local_part_in_many_domains_is_spread_too() -> None:
    """Mail hosters have a thousand users called info."""
    spread = shares(4)
    found = Counter(spread.number_for(b"PLAIN", plain(b"info@d%d.example.com" % i)) for i in range(4000))
    assert min(found[number] for number in range(4)) > 800


@pytest.mark.parametrize(
    ("mechanism", "message"),
    [
        (b"PLAIN", b"\0joe@example.com\0other secret"),
        (b"PLAIN", b"joe@example.com\0joe@example.com\0secret"),
        (b"PLAIN", b"joe@example.com\0admin\0secret"),
        (b"LOGIN", b"joe@example.com"),
        (b"XOAUTH2", b"user=joe@example.com\x01auth=Bearer abc\x01\x01"),
        (b"OAUTHBEARER", b"n,a=joe@example.com,\x01auth=Bearer abc\x01\x01"),
        (b"PLAIN", b"\0JOE@Example.com\0secret"),
    ],
)
def test_a_user_has_one_process_whatever_he_speaks(mechanism: bytes, message: bytes) -> None:
    """Also when a master logs in for him. With 1009 processes nobody meets him by chance."""
    spread = shares(1009)
    assert spread.number_for(mechanism, b64encode(message)) == spread.number_for(
        b"PLAIN", plain(b"joe@example.com")
    )


def test_rules_for_names_come_first() -> None:
    spread = shares(1009, default_realm="example.com", master_user_separator="*")
    home = spread.number_for(b"PLAIN", plain(b"joe@example.com"))
    for typed in (b"joe", b"joe*admin"):
        assert spread.number_for(b"PLAIN", plain(typed)) == home, typed
    assert spread.number_for(b"PLAIN", plain(b"joe@example.org")) != home
    translated = shares(1009, username_translation="#@")
    assert translated.number_for(b"PLAIN", plain(b"joe#example.com")) == home
    local = shares(1009, username_format="%n")
    assert local.number_for(b"PLAIN", plain(b"joe@a")) == local.number_for(b"PLAIN", plain(b"joe@b"))


@pytest.mark.parametrize(
    ("mechanism", "response"),
    [
        (b"PLAIN", None),
        (b"PLAIN", b""),
        (b"PLAIN", b"!"),
        (b"PLAIN", b64encode(b"no separators")),
        (b"LOGIN", None),
        (b"CRAM-MD5", None),
        (b"APOP", b64encode(b"<1.2.3.4@host>\0joe\0" + bytes(16))),
        (b"XOAUTH2", b64encode(b"joe")),
        (b"OAUTHBEARER", b64encode(b"n,,\x01auth=Bearer abc\x01\x01")),
    ],
)
def test_who_is_not_named_yet_is_anybodys(mechanism: bytes, response: bytes | None) -> None:
    assert shares().number_for(mechanism, response) is None


def test_a_name_that_no_rule_allows_has_a_process_that_refuses_it() -> None:
    assert shares().number_for(b"PLAIN", plain(b"jo e")) == 0
