from __future__ import annotations

import pytest

from mailproxy.proto.frontend import Refusal
from mailproxy.session.target import (
    BadTarget,
    check_referral,
    check_target,
    one_line,
    parse_port,
    refusal_of_fields,
)

FIELDS = {b"proxy": b"", b"host": b"192.0.2.1", b"pass": b"geheim"}


def test_target() -> None:
    target = check_target({**FIELDS, b"port": b"1143", b"destuser": b"j"}, b"john", 143)
    assert (target.host, target.port, target.user) == ("192.0.2.1", 1143, b"j")


def test_empty_fields_are_absent() -> None:
    target = check_target(
        {**FIELDS, b"port": b"", b"destuser": b"", b"ssl": b"", b"starttls": b"no"}, b"john", 110
    )
    assert (target.port, target.user) == (110, b"john")


def test_password_is_given_once() -> None:
    target = check_target(FIELDS, b"john", 143)
    assert target.take_password().reveal() == b"geheim"
    assert not target.take_password()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({b"host": b""}, "host not given"),
        ({b"host": b"mail.example"}, "mail.example is not a valid IP"),
        ({b"host": b"192.0.2.1\xff\n"}, r"192.0.2.1\xff\x0a is not a valid IP"),
        ({b"pass": b""}, "password not given"),
        ({b"port": b"143x"}, "port 143x is not a number from 1 to 65535"),
        ({b"port": b"0"}, "port 0 is not a number from 1 to 65535"),
        ({b"port": "١٤٣".encode()}, r"port \xd9\xa1\xd9\xa4\xd9\xa3 is not a number from 1 to 65535"),
        ({b"pass": b"ge\nheim"}, "field pass holds CR, LF or NUL, nothing was sent to the backend"),
        ({b"destuser": b"a\r"}, "field destuser holds CR, LF or NUL, nothing was sent to the backend"),
        ({b"ssl": b"any-cert"}, "field ssl asks for TLS to the backend, which is not supported"),
        ({b"starttls": b"yes"}, "field starttls asks for TLS to the backend, which is not supported"),
    ],
)
def test_bad_target(fields: dict[bytes, bytes], text: str) -> None:
    """A23 C04: the text says what is wrong and never shows the password."""
    with pytest.raises(BadTarget) as problem:
        check_target({**FIELDS, **fields}, b"john", 143)
    assert str(problem.value) == text
    assert "heim" not in str(problem.value)


def test_a_user_is_needed() -> None:
    with pytest.raises(BadTarget, match="user not given"):
        check_target(FIELDS, b"", 143)


@pytest.mark.parametrize(
    ("value", "port"), [(b"", 143), (b"1", 1), (b"65535", 65535), (b"65536", 0), (b"0", 0)]
)
def test_parse_port(value: bytes, port: int) -> None:
    assert parse_port(value, 143) == port


@pytest.mark.parametrize("host", [b"a b", b"a/b", b"a]", b"a@b", b"..", b"a\n", b"\xff"])
def test_bad_referral(host: bytes) -> None:
    """6.4: a host that could end the URL or the response code."""
    with pytest.raises(BadTarget):
        check_referral({b"host": host}, 143)


@pytest.mark.parametrize(
    ("fields", "refusal", "text"),
    [
        ({}, Refusal.CREDENTIALS, b""),
        ({b"temp": b"", b"proxy": b"", b"reason": b"x"}, Refusal.TEMPORARY, b""),
        ({b"code": b"temp_fail", b"reason": b"x"}, Refusal.TEMPORARY, b""),
        ({b"proxy": b"", b"reason": b"x", b"code": b"pass_expired"}, Refusal.CREDENTIALS, b""),
        ({b"reason": b"a\r\nb"}, Refusal.REASON, b"a  b"),
        ({b"code": b"pass_expired", b"reason": b"old"}, Refusal.EXPIRED, b"old"),
        ({b"code": b"user_disabled"}, Refusal.DISABLED, b""),
        ({b"code": b"new"}, Refusal.CREDENTIALS, b""),
    ],
)
def test_refusal_of_fields(fields: dict[bytes, bytes], refusal: Refusal, text: bytes) -> None:
    """24: with proxy in a failure the plain text; what is temporary stays so."""
    assert refusal_of_fields(fields) == (refusal, text)


def test_one_line() -> None:
    assert one_line(b"a\r\n\0\x1b\x7fb\xc3\xa4") == b"a     b\xc3\xa4"
