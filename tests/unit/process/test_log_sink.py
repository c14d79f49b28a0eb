"""Where log lines end, in Dovecot 1.0's format."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import syslog
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailproxy.base.errors import ConfigError
from mailproxy.base.level import Level
from mailproxy.config.settings import LogSettings
from mailproxy.process.log_sink import LogSink

STAMP = r"[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d "


def settings(log: Path | str = "", info: Path | str = "", stamp: str = "%b %d %H:%M:%S ") -> LogSettings:
    return LogSettings(str(log), str(info), stamp, "mail")


@pytest.fixture
def sink() -> Iterator[LogSink]:
    sink = LogSink()
    yield sink
    sink.close()


@pytest.fixture
def to_syslog(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    said: list[tuple[object, ...]] = []
    monkeypatch.setattr(syslog, "openlog", lambda *arguments: said.append(arguments))
    monkeypatch.setattr(syslog, "syslog", lambda *arguments: said.append(arguments))
    return said


def write_all(sink: LogSink) -> None:
    sink.write_many([(level, f"text {level.name.lower()}") for level in Level])


def test_lines_of_a_file(sink: LogSink, tmp_path: Path) -> None:
    sink.open(settings(tmp_path / "log"))
    write_all(sink)
    lines = (tmp_path / "log").read_text().splitlines()
    words = ["Info", "Warning", "Error", "Fatal"]
    assert len(lines) == 4
    for line, word in zip(lines, words, strict=True):
        assert re.fullmatch(f"dovecot: {STAMP}{word}: text {word.lower()}", line)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


def test_only_info_goes_to_info_log_path(sink: LogSink, tmp_path: Path) -> None:
    sink.open(settings(tmp_path / "log", tmp_path / "info"))
    write_all(sink)
    assert re.fullmatch(f"dovecot: {STAMP}Info: text info\n", (tmp_path / "info").read_text())
    assert [line.split(": ")[1].split()[-1] for line in (tmp_path / "log").read_text().splitlines()] == [
        "Warning",
        "Error",
        "Fatal",
    ]


def test_syslog_gets_text_without_level(sink: LogSink, to_syslog: list[tuple[object, ...]]) -> None:
    sink.open(settings())
    write_all(sink)
    assert to_syslog == [
        ("dovecot", syslog.LOG_NDELAY | syslog.LOG_PID, syslog.LOG_MAIL),
        (syslog.LOG_INFO, "text info"),
        (syslog.LOG_WARNING, "text warning"),
        (syslog.LOG_ERR, "text error"),
        (syslog.LOG_CRIT, "text fatal"),
    ]


def test_info_in_a_file_and_the_rest_in_syslog(
    sink: LogSink, tmp_path: Path, to_syslog: list[tuple[object, ...]]
) -> None:
    """Then the file's lines lack the name."""
    sink.open(settings(info=tmp_path / "info"))
    write_all(sink)
    assert re.fullmatch(f"{STAMP}Info: text info\n", (tmp_path / "info").read_text())
    assert [priority for priority, *_ in to_syslog[1:]] == [
        syslog.LOG_WARNING,
        syslog.LOG_ERR,
        syslog.LOG_CRIT,
    ]


def test_the_time_stamp_is_configurable(sink: LogSink, tmp_path: Path) -> None:
    sink.open(settings(tmp_path / "log", stamp="%Y-%m-%d "))
    sink.write(Level.INFO, "one")
    sink.open(settings(tmp_path / "log", stamp="<%Y> "))
    sink.write(Level.INFO, "two")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert re.fullmatch(r"dovecot: \d{4}-\d\d-\d\d Info: one", first)
    assert re.fullmatch(r"dovecot: <\d{4}> Info: two", second)


def test_before_and_after_files_it_is_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sink = LogSink()
    sink.write(Level.FATAL, "before")
    sink.open(settings("/dev/stderr"))
    sink.write(Level.ERROR, "while")
    sink.close()
    sink.write(Level.INFO, "after")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "Fatal: before"
    assert re.fullmatch(f"dovecot: {STAMP}Error: while", lines[1])
    assert lines[2] == "Info: after"


def test_reopen_after_a_rotation(sink: LogSink, tmp_path: Path) -> None:
    """F18: the new file is used at once and the old one let go."""
    log, old = tmp_path / "log", tmp_path / "log.1"
    sink.open(settings(log, tmp_path / "info"))
    before = len(os.listdir("/proc/self/fd"))
    sink.write(Level.ERROR, "one")
    log.rename(old)
    sink.write(Level.ERROR, "two")
    sink.reopen()
    sink.write(Level.ERROR, "three")
    assert [text.rsplit(": ", 1)[1] for text in old.read_text().splitlines()] == ["one", "two"]
    assert log.read_text().endswith("Error: three\n")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_reopen_that_fails_keeps_the_old_file(sink: LogSink, tmp_path: Path) -> None:
    folder, moved = tmp_path / "folder", tmp_path / "moved"
    folder.mkdir()
    sink.open(settings(folder / "log"))
    folder.rename(moved)
    sink.reopen()
    sink.write(Level.INFO, "still here")
    first, second = (moved / "log").read_text().splitlines()
    assert first.endswith(
        f"Error: log_path: Can't write to log directory {folder}: No such file or directory"
    )
    assert second.endswith("Info: still here")


def test_what_cannot_be_opened(sink: LogSink, tmp_path: Path) -> None:
    """V12: a planted symbolic link is refused; nothing leaks and nothing changes."""
    sink.open(settings(tmp_path / "good"))
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "target").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for bad in (settings(tmp_path / "link"), settings(tmp_path / "log", tmp_path / "none" / "info")):
        with pytest.raises(ConfigError, match="Can't write to log directory"):
            sink.open(bad)
    assert len(os.listdir("/proc/self/fd")) == before
    sink.write(Level.INFO, "unmoved")
    assert "unmoved" in (tmp_path / "good").read_text()
    assert (tmp_path / "target").read_text() == ""


class _FileLimit:
    """Files can grow to `size_bytes` only, as on a full disk."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes

    def __enter__(self) -> None:
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size_bytes, self.limits[1]))

    def __exit__(self, *_exception: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)
        signal.signal(signal.SIGXFSZ, self.handler)


def test_a_full_disk_is_survived_and_told(sink: LogSink, tmp_path: Path) -> None:
    """X11: whole lines only, and one message with the exact number when space returns."""
    log = tmp_path / "log"
    sink.open(settings(log))
    line_bytes = len("dovecot: Jan 01 00:00:00 Info: 0000\n")
    with _FileLimit(line_bytes * 10 + 7):
        sink.write_many([(Level.INFO, f"{n:04}") for n in range(6)])
        sink.write_many([(Level.INFO, f"{n:04}") for n in range(6, 16)])
        for n in range(16, 20):
            sink.write(Level.INFO, f"{n:04}")
    sink.write(Level.INFO, "0020")
    sink.write(Level.INFO, "0021")
    lines = log.read_text().splitlines()
    assert [line.rsplit(": ", 1)[1] for line in lines] == [
        *(f"{n:04}" for n in range(10)),
        "10 log lines were lost",
        "0020",
        "0021",
    ]
    assert "Warning: 10 log lines" in lines[10]


def test_a_failing_disk_is_counted(sink: LogSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X11."""
    sink.open(settings(tmp_path / "log"))

    def fail(_fd: int, _data: bytes) -> int:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fail)
        sink.write_many([(Level.INFO, "a"), (Level.ERROR, "b")])
        sink.write(Level.INFO, "c")
    sink.write(Level.INFO, "d")
    assert [line.split(": ", 2)[2] for line in (tmp_path / "log").read_text().splitlines()] == [
        "3 log lines were lost",
        "d",
    ]


def test_surrogates_do_not_stop_the_log(sink: LogSink, tmp_path: Path) -> None:
    sink.open(settings(tmp_path / "log"))
    sink.write(Level.INFO, "odd \udcff name")
    assert (tmp_path / "log").read_text().endswith("odd \\udcff name\n")
