from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.proto.imap import render as imap
from mailproxy.proto.imap.parser import CommandReader, parse_arguments, split_command
from mailproxy.proto.linebuf import LineBuffer
from mailproxy.proto.pop3 import render as pop3

NAMES = [b"PLAIN", b"CRAM-MD5"]


def test_imap_capability() -> None:
    """41: LOGINDISABLED and AUTH= follow a configured list, in this order."""
    assert (
        imap.capability(b"IMAP4rev1 X", NAMES, True, True)
        == b"IMAP4rev1 X STARTTLS LOGINDISABLED AUTH=PLAIN AUTH=CRAM-MD5"
    )
    assert imap.capability(b"", [], False, False) == b""


def test_pop3_capability() -> None:
    assert (
        pop3.capability(b"TOP UIDL", NAMES, True, True)
        == b"+OK\r\nTOP\r\nUIDL\r\nSTLS\r\nUSER\r\nSASL PLAIN CRAM-MD5\r\n.\r\n"
    )
    assert pop3.capability(b"", [], False, False) == b"+OK\r\nSASL\r\n.\r\n"
    assert pop3.mechanism_list(NAMES) == b"+OK\r\nPLAIN\r\nCRAM-MD5\r\n.\r\n"


@pytest.mark.parametrize(
    ("user", "host", "port", "url"),
    [
        (b"john", b"192.0.2.1", 143, b"imap://john;AUTH=PLAIN@192.0.2.1/"),
        (b"j@x", b"mail.example", 1143, b"imap://j%40x;AUTH=PLAIN@mail.example:1143/"),
        (b"a]\r\n \xff", b"2001:db8::1", 143, b"imap://a%5D%0D%0A%20%FF;AUTH=PLAIN@[2001:db8::1]/"),
    ],
)
def test_referral_url(user: bytes, host: bytes, port: int, url: bytes) -> None:
    assert imap.referral_url(user, b"PLAIN", host, port) == url


def test_login_is_quoted_where_it_can_be() -> None:
    assert imap.login_pieces(b"T", b"jo hn", b"", 0) == [b'T LOGIN "jo hn" ""\r\n']


def test_login_waits_at_each_literal() -> None:
    """C07 C08: quote, backslash, 8-bit and control bytes go as literals."""
    assert imap.login_pieces(b"T", b'a"', b"\\\t\xff", 0) == [
        b"T LOGIN {2}\r\n",
        b'a" {3}\r\n',
        b"\\\t\xff\r\n",
    ]


def test_login_with_literals_that_need_no_answer() -> None:
    """C07: up to the size that the backend takes."""
    assert imap.login_pieces(b"T", b'"', b'""', 1) == [b'T LOGIN {1+}\r\n" {2}\r\n', b'""\r\n']


LINE_VALUES = st.binary(max_size=200).map(lambda value: value.translate(None, b"\r\n\0"))


@given(LINE_VALUES, LINE_VALUES, st.sampled_from([0, 50, 4096]))
def test_a_backend_reads_the_same_bytes(user: bytes, password: bytes, literal_bytes: int) -> None:
    """C06 C08 C10: parse(render(x)) = x, and no piece goes out before its `+`."""
    buffer = LineBuffer()
    sent: list[bytes] = []
    reader = CommandReader(buffer, sent.append)
    command = None
    for count, piece in enumerate(imap.login_pieces(b"T", user, password, literal_bytes)):
        assert len(sent) == count
        buffer.feed(piece)
        command = reader.next_command()
    assert command is not None
    tag, name, at = split_command(command.lines[0])
    assert (tag, name) == (b"T", b"LOGIN")
    assert parse_arguments(command, at) == [user, password]
