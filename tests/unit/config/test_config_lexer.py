from __future__ import annotations

from pathlib import Path

import pytest

from mailproxy.base.errors import Problem
from mailproxy.config.lexer import Lexer, Where


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, ...]] = []
        self.lines: list[int] = []

    def on_value(self, key: str, value: str, where: Where) -> None:
        self.seen.append((key, value))
        self.lines.append(where.line)

    def on_open(self, kind: str, name: str, where: Where) -> None:
        self.seen.append(("{", kind, name))
        self.lines.append(where.line)

    def on_close(self) -> None:
        self.seen.append(("}",))


def lex(folder: Path, content: bytes) -> tuple[Recorder, list[Problem]]:
    path = folder / "dovecot.conf"
    path.write_bytes(content)
    events, problems = Recorder(), list[Problem]()
    assert Lexer(events, problems).read(str(path))
    return events, problems


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"key=value", "value"),
        (b"key = value", "value"),
        (b"\t key =value \t", "value"),
        (b"key = a = b", "a = b"),
        (b"key =", ""),
        (b"key = value# glued", "value"),
        (b"key = 'a # b' # c", "a # b"),
        (b'key = "a\\"#b" # c', 'a"#b'),
        (b"key = It's ready # x", "It's ready # x"),
        (b'key = "quoted # text"', "quoted # text"),
        (b"key = 'a' = 'b'", "a' = 'b"),
        (b'key = "a" b', '"a" b'),
        (b"key = 'x\"", "'x\""),
        (b'key = "a\\\\b\\c"', "a\\bc"),
        (b'key = "', '"'),
        (b"key = ''", ""),
        (b"key = value\r", "value"),
        (b"key = v\xe4lue", "v\udce4lue"),
    ],
)
def test_one_line_gives_one_value(tmp_path: Path, line: bytes, value: str) -> None:
    events, problems = lex(tmp_path, line + b"\n")
    assert (events.seen, problems) == ([("key", value)], [])


def test_a_carriage_return_stays_on_a_last_line_without_line_feed(tmp_path: Path) -> None:
    events, _ = lex(tmp_path, b"a = 1\r\nb = 2\r")
    assert events.seen == [("a", "1"), ("b", "2\r")]


def test_sections_nest_and_what_follows_a_brace_is_ignored(tmp_path: Path) -> None:
    events, problems = lex(tmp_path, b"auth default { x = y\n passdb sql {\n }\n}\nauth {\n}\nplugin {\n}\n")
    opened = [("{", "auth", "default"), ("{", "passdb", "sql"), ("}",), ("}",)]
    assert events.seen == [*opened, ("{", "auth", ""), ("}",), ("{", "plugin", ""), ("}",)]
    assert problems == []


@pytest.mark.parametrize(
    ("content", "line", "text"),
    [
        (b"word\n", 1, "Expecting '='"),
        (b"a = 1\n\nword more\n", 3, "Expecting '='"),
        (b"two words = x\n", 1, "Expecting '='"),
        (b"auth my name {\n", 1, "Expecting '='"),
        (b"\n}\n", 2, "Unexpected '}'"),
        (b"section{\n}\n", 1, "Expecting '=': a '{' needs a space before it"),
        (b"auth default{\n}\n", 1, "Expecting '=': a '{' needs a space before it"),
        (b"auth x {\n} y\n", 2, "Expecting '=': a '}' must stand alone on its line"),
        (b"a = b\0c\n", 1, "NUL byte in the line"),
    ],
)
def test_each_fault_has_its_text_and_line(tmp_path: Path, content: bytes, line: int, text: str) -> None:
    _, problems = lex(tmp_path, content)
    assert [(problem.line, problem.text) for problem in problems] == [(line, text)]


def test_a_missing_brace_names_the_section_that_has_no_end(tmp_path: Path) -> None:
    _, problems = lex(tmp_path, b"a = 1\nauth default {\n  b = 2\n")
    file = tmp_path / "dovecot.conf"
    assert [str(problem) for problem in problems] == [
        f"Missing '}}': the section auth default of {file} line 2 has no end"
    ]


def test_reading_goes_on_after_a_fault(tmp_path: Path) -> None:
    events, problems = lex(tmp_path, b"}\nfirst\na = 1\n}\n\nlast\n")
    assert [problem.line for problem in problems] == [1, 2, 4, 6]
    assert events.seen == [("a", "1")]


def test_a_backslash_continues_a_line_and_physical_lines_are_counted(tmp_path: Path) -> None:
    events, problems = lex(tmp_path, b"a = one \\\r\n   two\\\n# between\n\tthree\nb = 2\nword\n")
    assert events.seen == [("a", "one two three"), ("b", "2")]
    assert events.lines == [1, 5]
    assert [problem.line for problem in problems] == [6]


def test_a_comment_and_a_blank_line_end_what_a_backslash_continues(tmp_path: Path) -> None:
    events, problems = lex(tmp_path, b"a = 1 # why \\\nb = 2 \\\n\nc = 3 \\\n# end")
    assert events.seen == [("a", "1"), ("b", "2"), ("c", "3")]
    assert problems == []


def test_quotes_may_span_a_continued_line(tmp_path: Path) -> None:
    events, _ = lex(tmp_path, b'a = "x # y \\\n# z" # comment\n')
    assert events.seen == [("a", "x # y # z")]


def test_a_wrapped_value_is_explained_on_every_line_of_it(tmp_path: Path) -> None:
    _, problems = lex(tmp_path, b"query = SELECT a FROM\nproxy WHERE\nuser IN (1)\n")
    hint = (
        "Expecting '=': the value of query of line 1 seems to be wrapped,"
        " a '\\' at the end of that line continues it"
    )
    assert [(problem.line, problem.text) for problem in problems] == [(2, hint), (3, hint)]


def test_an_include_is_relative_to_its_file_and_may_be_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "20.conf").write_text("b = 2\n!include ../last.inc\n")
    (tmp_path / "conf.d" / "10.conf").write_text("a = 1\n")
    (tmp_path / "last.inc").write_text("c = 3\n")
    events, problems = lex(
        tmp_path, b'!include conf.d/*.conf\n!include_try nothing.conf\n!include "last.inc"\n'
    )
    assert events.seen == [("a", "1"), ("b", "2"), ("c", "3"), ("c", "3")]
    assert problems == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("!include", "!include: no file matches ''"),
        ("!include_try", "!include: no file matches ''"),
        ("!include *.nothing", "!include: no file matches '*.nothing'"),
        ("!include gone.conf", "!include: Can't open {folder}/gone.conf: No such file or directory"),
        ("!include .", "!include: {folder}/. is not a file"),
        ("!include dovecot.conf", "!include: {folder}/dovecot.conf includes itself"),
        ("!include_try dovecot.conf", "!include: {folder}/dovecot.conf includes itself"),
    ],
)
def test_an_include_that_fails_is_reported_where_it_is(tmp_path: Path, line: str, text: str) -> None:
    _, problems = lex(tmp_path, f"a = 1\n{line}\n".encode())
    assert [(problem.line, problem.text) for problem in problems] == [(2, text.format(folder=tmp_path))]


def test_a_loop_over_two_files_ends(tmp_path: Path) -> None:
    (tmp_path / "other.conf").write_text("\n!include dovecot.conf\n")
    _, problems = lex(tmp_path, b"!include other.conf\n")
    assert [(problem.file, problem.line) for problem in problems] == [(str(tmp_path / "other.conf"), 2)]


def test_files_that_multiply_come_to_an_end(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.inc").write_text(f"!include {number + 1}.inc\n" * 2)
    (tmp_path / "20.inc").write_text("")
    _, problems = lex(tmp_path, b"!include 0.inc\n")
    assert [problem.text for problem in problems] == ["!include: more than 1000 files or 30 levels"]


def test_a_section_ends_in_the_file_that_began_it(tmp_path: Path) -> None:
    (tmp_path / "open.inc").write_text("auth one {\n")
    (tmp_path / "close.inc").write_text("}\n")
    events, problems = lex(tmp_path, b"plugin {\n!include open.inc\n!include close.inc\n}\n")
    assert events.seen == [("{", "plugin", ""), ("{", "auth", "one"), ("}",), ("}",)]
    assert [problem.text.split(":")[0] for problem in problems] == ["Missing '}'", "Unexpected '}'"]


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    problems: list[Problem] = []
    assert not Lexer(Recorder(), problems).read(str(tmp_path / "none"))
    assert str(problems[0]) == f"Can't open configuration file {tmp_path}/none: No such file or directory"
