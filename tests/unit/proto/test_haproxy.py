"""The PROXY protocol: both versions, in any split, and nothing else accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.proto.haproxy import LIMIT_BYTES, Endpoints, Header, parse, render

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 5555 143\r\n"
ENDPOINTS = Endpoints("192.0.2.7", 5555, "198.51.100.1", 143)


def test_version_1_is_read() -> None:
    assert parse(V1 + b"a LOGIN") == Header(len(V1), ENDPOINTS)


def test_version_1_with_ipv6() -> None:
    header = parse(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n")
    assert header is not None
    assert header.endpoints == Endpoints("2001:db8::1", 1, "2001:db8::2", 65535)


def test_unknown_speaks_for_itself() -> None:
    assert parse(b"PROXY UNKNOWN ffff::1 x 1 2\r\n") == Header(29, None)


@pytest.mark.parametrize(
    "endpoints",
    [
        ENDPOINTS,
        Endpoints("2001:db8::1", 1, "2001:db8::2", 2),
    ],
)
def test_version_2_is_its_own_inverse(endpoints: Endpoints) -> None:
    data = render(endpoints)
    assert parse(data) == Header(len(data), endpoints)


def test_mixed_families_go_as_ipv6() -> None:
    header = parse(render(Endpoints("192.0.2.7", 1, "2001:db8::2", 2)))
    assert header is not None
    assert header.endpoints == Endpoints("192.0.2.7", 1, "2001:db8::2", 2)


def test_a_health_check_has_no_endpoints() -> None:
    data = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
    assert parse(data + b"x") == Header(16, None)
    assert render(None) == data


def test_extensions_are_passed_over() -> None:
    data = render(ENDPOINTS)
    longer = data[:14] + (12 + 5).to_bytes(2, "big") + data[16:] + b"\x04\x00\x02ab"
    assert parse(longer) == Header(len(longer), ENDPOINTS)


@pytest.mark.parametrize("data", [V1, render(ENDPOINTS)])
def test_a_part_asks_for_more(data: bytes) -> None:
    for length in range(len(data)):
        assert parse(data[:length]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"a LOGIN x y\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        b"PROXY TCP4 ::1 ::2 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 70000 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        b"PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP6 fe80::1%x\tcert_username=root\n ::1 1 2\r\n",
        b"PROXY TCP6 ::1 fe80::1%eth0 1 2\r\n",
        b"PROXY " + b"x" * 200,
        b"\r\n\r\n\0\r\nQUIT\n\x2f\x11\x00\x00",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x02ab",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + LIMIT_BYTES.to_bytes(2, "big"),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(data)


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_do_harm(tail: bytes, second: bool) -> None:
    for data in (tail, V1[:6] + tail, render(ENDPOINTS)[:12] + tail if second else tail):
        try:
            header = parse(data)
        except ValueError:
            continue
        assert header is None or header.length_bytes <= len(data)
