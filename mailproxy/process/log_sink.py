"""Where log lines end: files or syslog, written by the master alone (Dovecot 1.0's format)."""

from __future__ import annotations

import contextlib
import os
import syslog
import time

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.level import Level
from mailproxy.config.settings import LogSettings

# By a level's letter: an enum's hash is a function of Python, and this is asked for each line.
_WORDS = {"I": "Info", "W": "Warning", "E": "Error", "F": "Fatal"}
_PRIORITIES = {
    Level.INFO: syslog.LOG_INFO,
    Level.WARNING: syslog.LOG_WARNING,
    Level.ERROR: syslog.LOG_ERR,
    Level.FATAL: syslog.LOG_CRIT,
}
_IDENT = "dovecot"
_STDERR = "/dev/stderr"
_OPEN_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class LogSink:
    """Owns the log files. Before `open` everything goes to standard error."""

    def __init__(self) -> None:
        self._settings: LogSettings | None = None
        self._error_fd = 2
        self._info_fd = 2
        self._lost = 0
        self._stamp = (0, "")

    def open(self, settings: LogSettings) -> None:
        """Open what the settings name, then let go of what was open. Raises ConfigError, nothing changed."""
        error_fd = info_fd = -1
        if settings.log_path:
            error_fd = info_fd = _open(settings.log_path, "log_path")
        if settings.info_log_path:
            try:
                info_fd = _open(settings.info_log_path, "info_log_path")
            except ConfigError:
                if error_fd >= 0:
                    os.close(error_fd)
                raise
        if error_fd < 0:
            facility = getattr(syslog, f"LOG_{settings.syslog_facility.upper()}")
            syslog.openlog(_IDENT, syslog.LOG_NDELAY | syslog.LOG_PID, facility)
        old = {self._error_fd, self._info_fd}
        self._settings, self._error_fd, self._info_fd = settings, error_fd, info_fd
        self._stamp = (0, "")
        for fd in old - {2, -1}:
            os.close(fd)

    def reopen(self) -> None:
        """Open the files anew after a rotation; on failure the old ones stay and the error is logged."""
        if self._settings is not None:
            try:
                self.open(self._settings)
            except ConfigError as error:
                self.write(Level.ERROR, str(error))

    def write(self, level: Level, text: str) -> None:
        """Write one line of printable text."""
        self.write_many([(level, text)])

    def write_many(self, lines: list[tuple[Level, str]]) -> None:
        """Write lines with as few system calls as their destinations allow."""
        files: dict[int, list[str]] = {self._info_fd: [], self._error_fd: []}
        prefix = "" if self._settings is None else self._prefix()
        for level, text in lines:
            fd = self._info_fd if level is Level.INFO else self._error_fd
            if fd < 0:
                syslog.syslog(_PRIORITIES[level], text)
            else:
                files[fd].append(f"{prefix}{_WORDS[level._value_]}: {text}\n")
        for fd, texts in files.items():
            if texts:
                self._put(fd, texts)

    def _prefix(self) -> str:
        now = int(time.time())
        if self._settings is not None and now != self._stamp[0]:
            stamp = time.strftime(self._settings.log_timestamp, time.localtime(now))
            # Dovecot leaves its name out of a file that only informs while the rest goes to syslog.
            self._stamp = (now, f"{_IDENT}: {stamp}" if self._settings.log_path else stamp)
        return self._stamp[1]

    def _put(self, fd: int, texts: list[str]) -> None:
        """Write or count: a full disk must not stop the master, and is told when space returns."""
        lost = self._lost
        if lost:
            texts = [f"{self._prefix()}Warning: {lost} log lines were lost\n", *texts]
        data = "".join(texts).encode("utf-8", "backslashreplace")
        written = 0
        with contextlib.suppress(OSError):
            written = os.write(fd, data)
            if written < len(data):
                # The disk filled up within a line: take its beginning back, so that every line is whole.
                whole = data.rfind(b"\n", 0, written) + 1
                os.ftruncate(fd, os.fstat(fd).st_size - (written - whole))
                written = whole
        self._lost = data.count(b"\n", written) + (lost - 1 if lost and not written else 0)

    def close(self) -> None:
        """Let go of the files."""
        for fd in {self._error_fd, self._info_fd} - {2, -1}:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._error_fd = self._info_fd = 2
        self._settings = None


def _open(path: str, setting: str) -> int:
    if path == _STDERR:
        return os.dup(2)
    try:
        return os.open(path, _OPEN_FLAGS, 0o600)
    except OSError as error:
        directory = os.path.dirname(path) or "."
        problem = Problem(f"{setting}: Can't write to log directory {directory}: {error.strerror}")
        raise ConfigError([problem]) from error
