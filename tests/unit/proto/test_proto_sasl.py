from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.proto import sasl
from mailproxy.proto.frontend import Refusal, check_response


@pytest.mark.parametrize(
    "line",
    [b"!!!!", b"QUJD QUJD", b"QUJ", b"QQ", b"QQ==QQ==", b"QQ==x", b"_-==", b"=", b"=" * 8192, b"QUJD\r"],
)
def test_bad_base64(line: bytes) -> None:
    """P16: alphabet, padding and end are strict."""
    assert sasl.decode(line) is None


@given(st.binary())
def test_good_base64(message: bytes) -> None:
    assert sasl.decode(b64encode(message)) == message
    assert sasl.encode(message) == b64encode(message)


@given(st.binary(max_size=6000), st.binary(max_size=6000))
def test_plain_is_never_cut(user: bytes, password: bytes) -> None:
    """C10: no line end inside, nothing left out."""
    line = sasl.plain(user, password)
    assert b"\n" not in line
    assert b64decode(line) == b"\0" + user + b"\0" + password


def test_apop() -> None:
    assert b64decode(sasl.apop(b"<1@h>", b"john", b"\1" * 16)) == b"<1@h>\0john\0" + b"\1" * 16


@pytest.mark.parametrize("value", [b"a\rb", b"a\nb", b"a\0b"])
def test_breaks_line(value: bytes) -> None:
    """C01 C03: these three never reach a line protocol."""
    assert sasl.breaks_line(value)


def test_other_controls_do_not_break_a_line() -> None:
    assert not sasl.breaks_line(b"\t\x0b\x85\xff ")


@pytest.mark.parametrize(
    ("response", "mechanism", "is_plaintext", "refusal"),
    [
        (None, b"PLAIN", True, None),
        (b"", b"PLAIN", True, None),
        (b"!", b"PLAIN", True, Refusal.ENCODING),
        (b64encode(b"\0u\0p"), b"PLAIN", True, None),
        (b64encode(b"\0u\0p\r"), b"PLAIN", True, Refusal.CREDENTIALS),
        (b64encode(b"u\0"), b"LOGIN", True, Refusal.CREDENTIALS),
        (b64encode(b'username="u",\r\n realm="r"'), b"DIGEST-MD5", False, None),
    ],
)
def test_check_response(
    response: bytes | None, mechanism: bytes, is_plaintext: bool, refusal: Refusal | None
) -> None:
    """P16 C01: only a message that carries the password is searched for line ends."""
    assert check_response(response, mechanism, is_plaintext) is refusal
