from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.base.limits import IMAP_LITERALS_BYTES
from mailproxy.proto.frontend import ClientViolation
from mailproxy.proto.imap import texts
from mailproxy.proto.imap.parser import (
    LINE_BYTES,
    TAG_BYTES,
    CommandReader,
    RawCommand,
    SyntaxFault,
    parse_arguments,
    parse_id,
    read_plain_login,
    split_command,
)
from mailproxy.proto.linebuf import LineBuffer


def read(data: bytes) -> tuple[list[RawCommand], list[bytes], bytes]:
    buffer = LineBuffer()
    sent: list[bytes] = []
    reader = CommandReader(buffer, sent.append)
    buffer.feed(data)
    commands = []
    while (command := reader.next_command()) is not None:
        commands.append(command)
    return commands, sent, buffer.take_rest()


def arguments(line: bytes) -> list[bytes | None]:
    commands, _, rest = read(line + b"\r\n")
    assert len(commands) == 1
    assert rest == b""
    return parse_arguments(commands[0], 0)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", []),
        (b"   ", []),
        (b" john secret", [b"john", b"secret"]),
        (b' "" "a b"', [b"", b"a b"]),
        (b' "a\\"b\\\\c" x ', [b'a"b\\c', b"x"]),
        (b' "\xc3\xa4\t" NIL nil "NIL"', ["\xe4\t".encode(), None, None, b"NIL"]),
        (b" {3+}\r\na\r\n {0+}\r\n", [b"a\r\n", b""]),
        (b" x {1+}\r\n\xff y", [b"x", b"\xff", b"y"]),
        (b" ]%*\\+ a=", [b"]%*\\+", b"a="]),
    ],
)
def test_arguments(line: bytes, expected: list[bytes | None]) -> None:
    assert arguments(line) == expected


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b" a  b", texts.BAD_ATOM),
        (b" (a)", texts.BAD_ATOM),
        (b" a(", texts.BAD_ATOM),
        (b' "a', texts.MISSING_QUOTE),
        (b' "a\0"', texts.MISSING_QUOTE),
        (b' "a\r"', texts.MISSING_QUOTE),
        (b' "a"b', texts.BAD_ATOM),
        (b" j\xf6", texts.EIGHT_BIT_ATOM),
        (b" {x}", texts.BAD_LITERAL),
        (b" x{3+}\r\nabc", texts.BAD_COMMAND),
        (b" {3+}\r\na\0c", texts.BAD_COMMAND),
        (b" {1+}\r\nxy", texts.BAD_ATOM),
        (b" a\x7f", texts.BAD_ATOM),
    ],
)
def test_faults(line: bytes, text: bytes) -> None:
    """P12: among them NUL anywhere."""
    with pytest.raises(SyntaxFault) as fault:
        arguments(line)
    assert fault.value.text == text


def test_only_synchronising_literals_are_asked_for() -> None:
    """P06: {n+} sends nothing."""
    commands, sent, rest = read(b"a X {1}\r\nb {2+}\r\ncd\r\ne")
    assert commands == [RawCommand([b"a X {1}", b" {2+}", b""], [b"b", b"cd"])]
    assert sent == [texts.CONTINUE]
    assert rest == b"e"


@pytest.mark.parametrize(
    "count", [b"", b"-1", b"+5", b"1_0", b" 5", b"\xd9\xa3", b"0x5", b"5++", b"4294967296", b"9" * 5000]
)
def test_malformed_counts_announce_nothing(count: bytes) -> None:
    """P04: the next line is a command."""
    commands, sent, _ = read(b"a LOGIN {" + count + b"}\r\nb NOOP\r\n")
    assert [command.lines[0][:1] for command in commands] == [b"a", b"b"]
    assert sent == []


def test_literals_are_bounded_together() -> None:
    """P05: nothing is asked for beyond the limit."""
    assert read(b"a {%d}\r\n" % IMAP_LITERALS_BYTES)[1] == [texts.CONTINUE]
    for data in (b"a {%d}\r\n" % (IMAP_LITERALS_BYTES + 1), b"a {1+}\r\nx {%d+}\r\n" % IMAP_LITERALS_BYTES):
        with pytest.raises(ClientViolation):
            read(data)


def test_lines_are_bounded_together() -> None:
    """P02: literals do not buy new lines."""
    with pytest.raises(ClientViolation):
        read(b"a" * 8000 + b" {1+}\r\nx" + b"b" * (LINE_BYTES - 8000))


def test_many_small_literals_are_bounded() -> None:
    """P05: a literal of no bytes costs its announcement."""
    with pytest.raises(ClientViolation):
        read(b"a" + b" {0+}\r\n" * LINE_BYTES)


@pytest.mark.parametrize(
    ("line", "tag", "name"),
    [
        (b"a1 login x", b"a1", b"LOGIN"),
        (b"a1", b"a1", b""),
        (b"] NOOP", b"]", b"NOOP"),
        (b"t" * TAG_BYTES + b" NOOP", b"t" * TAG_BYTES, b"NOOP"),
    ],
)
def test_split_command(line: bytes, tag: bytes, name: bytes) -> None:
    assert split_command(line)[:2] == (tag, name)


@pytest.mark.parametrize(
    "tag", [b"", b"*", b"+", b"a+b", b'a"', b"a\0", b"\xff", b"a%n", b"(", b"{", b"t" * 65, b"\\"]
)
def test_hostile_tags(tag: bytes) -> None:
    """P10: what may not be echoed is empty."""
    assert split_command(tag + b" NOOP") == (b"", b"", 0)


@pytest.mark.parametrize(
    "text", [b" NIL", b" nil ", b" ()", b' ("a" "b")', b' ("a" NIL)', b' ("a" {1+}\r\nx)']
)
def test_good_id(text: bytes) -> None:
    """P09: the forms of RFC 2971."""
    parse_id(read(b"ID" + text + b"\r\n")[0][0], 2)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" x",
        b' "a" "b"',
        b' ("a")',
        b' (("a" "b"))',
        b' (NIL "b")',
        b" (" + b'"k" "v" ' * 31 + b")",
        b" (",
    ],
)
def test_bad_id(text: bytes) -> None:
    """P09: more pairs, odd words, lists within lists."""
    with pytest.raises(SyntaxFault):
        parse_id(read(b"ID" + text + b"\r\n")[0][0], 2)


@given(st.lists(st.binary(min_size=1, max_size=30).filter(lambda value: b"\0" not in value), max_size=5))
def test_literals_carry_any_bytes(values: list[bytes]) -> None:
    line = b"".join(b" {%d+}\r\n%s" % (len(value), value) for value in values)
    assert arguments(line) == list(values)


def test_byte_by_byte_stays_linear() -> None:
    """X13: 8 KiB in single bytes cost under 50 ms of CPU."""
    buffer = LineBuffer()
    reader = CommandReader(buffer, lambda data: None)
    began = time.process_time()
    for _ in range(8192):
        buffer.feed(b"(")
        assert reader.next_command() is None
    assert time.process_time() - began < 0.05


_VALUE = st.sampled_from(
    (
        b"joe",
        b'"joe"',
        b'""',
        b"NIL",
        b"nil",
        b"nilly",
        b'"NIL"',
        b'"a\\"b"',
        b"{1+}",
        b"a}",
        b"(",
        b"\xe4",
        b'"\xe4"',
    )
) | st.binary(max_size=6)


@given(
    st.lists(st.sampled_from((b" ", b"  ", b"")) | st.just(b" "), min_size=3, max_size=3),
    st.sampled_from((b"a1", b"a+", b"", b"t" * TAG_BYTES, b"t" * (TAG_BYTES + 1), b"*"))
    | st.binary(max_size=3),
    st.sampled_from((b"LOGIN", b"login", b"LoGiN", b"LOGI", b"NOOP")),
    st.lists(_VALUE, min_size=2, max_size=2),
    st.sampled_from((b"\r\n", b"\n", b" \r\n", b"\r\r\n", b"", b"\r\nb NOOP\r\n", b"\n\n")),
)
def test_a_plain_login_is_what_the_steps_read(
    blanks: list[bytes], tag: bytes, name: bytes, values: list[bytes], end: bytes
) -> None:
    data = tag + blanks[0] + name + blanks[1] + values[0] + blanks[2] + values[1] + end
    buffer = LineBuffer()
    buffer.feed(b"x\n" + data)
    buffer.next_line(LINE_BYTES)
    login = read_plain_login(buffer)
    if login is None:
        assert buffer.take_rest() == data
        return
    commands, sent, rest = read(data)
    assert (len(commands), sent, rest, len(buffer)) == (1, [], b"", 0)
    word, upper, at = split_command(commands[0].lines[0])
    assert (word, upper, *parse_arguments(commands[0], at)) == (login[0], b"LOGIN", *login[1:])


@pytest.mark.parametrize("line", [b'a1 LOGIN joe "s e"\r\n', b'a LOGIN "" secret\n', b"x login nilly s}\r\n"])
def test_most_logins_are_plain(line: bytes) -> None:
    buffer = LineBuffer()
    buffer.feed(line)
    assert read_plain_login(buffer) is not None


@pytest.mark.parametrize(
    "line",
    [
        b"a LOGIN nil s\r\n",
        b"a LOGIN joe NIL\n",
        b'a LOGIN "\\"" s\r\n',
        b"a LOGIN joe " + b"s" * 1024 + b"\r\n",
    ],
)
def test_others_are_left(line: bytes) -> None:
    buffer = LineBuffer()
    buffer.feed(line)
    assert read_plain_login(buffer) is None
    assert buffer.take_rest() == line
