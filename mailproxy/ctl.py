"""The `mailproxyctl` command: asks and orders about a mailproxy that runs."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import ipaddress
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from mailproxy.base.errors import ConfigError, PeerViolation
from mailproxy.base.limits import AUTH_REQUEST_S
from mailproxy.base.text import printable
from mailproxy.config.load import DEFAULT_PATH, find_base_dir
from mailproxy.ipc.control import (
    INQUIRY_BYTES,
    REPLY_BYTES,
    SOCKET_NAME,
    Inquiry,
    Reply,
    Request,
    Row,
    parse_reply,
    render_inquiry,
    render_request,
)
from mailproxy.ipc.status import ARGUMENT_BYTES

EXIT_FAILED = 1
EXIT_USAGE = 2
# Those of sysexits.h.
EXIT_NOT_RUNNING = 69
EXIT_INCOMPLETE = 75
EXIT_NO_RIGHTS = 77
# A worker that says nothing for so long hangs.
_SILENCE_S = 7.0
# A database may take its time.
_AUTH_SILENCE_S = AUTH_REQUEST_S + 5
_HEADINGS = ("user", "protocol", "client", "backend", "session", "tls", "since", "in", "out", "state", "pid")


class _Trouble(Exception):
    """Why a command ends, for the administrator."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mailproxyctl", description="Asks and orders a running mailproxy.")
    parser.add_argument("-c", metavar="FILE", dest="path", default=DEFAULT_PATH, help="configuration file")
    parser.add_argument("-S", metavar="SOCKET", dest="socket", help="control socket, instead of base_dir's")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("status", help="processes, logins and sessions in numbers")
    who = commands.add_parser("who", help="everybody who is connected")
    who.add_argument(
        "pattern", nargs="?", default="*", help="user, address, network or session; * and ? match"
    )
    kick = commands.add_parser("kick", help="end sessions")
    kick.add_argument("names", nargs="+", metavar="NAME", help="user, client address or session")
    explain = commands.add_parser("explain", help="what would become of a user's login, and why")
    explain.add_argument("user")
    explain.add_argument(
        "where", nargs="?", default="", metavar="[SERVICE][/IP]", help="such as imap/192.0.2.7"
    )
    explain.add_argument("-p", dest="with_password", action="store_true", help="read a password from stdin")
    commands.add_parser("reload", help="take a changed configuration into use")
    commands.add_parser("upgrade", help="let a newly installed version take over")
    commands.add_parser("stop", help="end mailproxy")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        path = options.socket or os.path.join(find_base_dir(options.path), SOCKET_NAME)
        return _COMMANDS[options.command](path, options)
    except ConfigError as error:
        problems = "\n".join(str(problem) for problem in error.problems)
        sys.stderr.write(f"mailproxyctl: {problems}\n")
        return EXIT_FAILED
    except _Trouble as trouble:
        sys.stderr.write(f"mailproxyctl: {trouble}\n")
        return trouble.status
    except BrokenPipeError:
        # Nobody reads what we print any more, `mailproxyctl who | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


# -- the conversation -------------------------------------------------------------------------------------


class _Conversation:
    """One request and its answers. Raises _Trouble."""

    def __init__(self, path: str, request: Request, argument: bytes = b"") -> None:
        self.silent = 0
        """Processes that were asked and do not answer."""
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._sock.connect(path)
            self.send(render_request(request, argument))
        except OSError as error:
            self._sock.close()
            raise _no_connection(path, error) from None

    def send(self, packet: bytes) -> None:
        """Say one more thing."""
        self._sock.send(packet)

    def answers(self, patience_s: float | None = None) -> Iterator[tuple[Reply, bytes]]:
        """Yield texts and rows until the end; with `patience_s`, give up silent processes."""
        self._sock.settimeout(patience_s)
        asked = ended = 0
        with self._sock:
            while packet := self._receive():
                try:
                    kind, text = parse_reply(packet)
                except PeerViolation as error:
                    raise _Trouble(f"{error}; restart mailproxy after an update", EXIT_FAILED) from None
                if kind is Reply.FAILURE:
                    raise _Trouble(_for_people(text), EXIT_FAILED)
                if kind is Reply.ASKED:
                    # One from each master: that of before an upgrade asks its own workers.
                    asked += int(text[:6]) if text.isdigit() else 0
                elif kind is Reply.END:
                    ended += 1
                else:
                    yield kind, text
            if packet is None:
                self.silent = max(1, asked - ended)

    def _receive(self) -> bytes | None:
        """Return a packet, an empty one at the end, None when nothing comes."""
        try:
            return self._sock.recv(REPLY_BYTES)
        except TimeoutError:
            return None
        except ConnectionResetError:
            return b""


def _no_connection(path: str, error: OSError) -> _Trouble:
    if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
        return _Trouble(f"mailproxy is not running ({path})", EXIT_NOT_RUNNING)
    if isinstance(error, PermissionError):
        text = f"no right to use {path}; only root and the user whom mailproxy runs as may"
        return _Trouble(text, EXIT_NO_RIGHTS)
    return _Trouble(f"can't use {path}: {error.strerror or error}", EXIT_NOT_RUNNING)


def _for_people(text: bytes) -> str:
    """Several lines of text, fit for a terminal."""
    return "\n".join(printable(line, 1000) for line in text.split(b"\n"))


def _rows(path: str, request: Request, argument: bytes = b"") -> tuple[list[Row], int]:
    """Return what the workers say, and how many of them say nothing."""
    conversation = _Conversation(path, request, argument)
    rows: list[Row] = []
    for kind, text in conversation.answers(_SILENCE_S):
        if kind is Reply.ROWS:
            with contextlib.suppress(PeerViolation):
                rows += [Row.parse(line) for line in text.split(b"\n")[:-1]]
    return rows, conversation.silent


def _warn_of_silent(count: int) -> int:
    if not count:
        return 0
    processes = "process does" if count == 1 else "processes do"
    sys.stderr.write(f"mailproxyctl: {count} {processes} not answer, so the list is not complete\n")
    return EXIT_INCOMPLETE


# -- commands ---------------------------------------------------------------------------------------------


def _status(path: str, _options: argparse.Namespace) -> int:
    for _, text in _Conversation(path, Request.STATUS).answers(_SILENCE_S):
        print(_for_people(text))
    return 0


def _who(path: str, options: argparse.Namespace) -> int:
    rows, silent = _rows(path, Request.WHO)
    matches = _matcher(options.pattern)
    found = [row for row in rows if matches(row)]
    if found:
        _print_table(sorted(found))
    status = _warn_of_silent(silent)
    if status or found:
        return status
    what = "nobody is connected" if options.pattern == "*" else f"nobody matches {options.pattern}"
    raise _Trouble(what, EXIT_FAILED)


def _matcher(pattern: str) -> Callable[[Row], bool]:
    try:
        network = ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return lambda row: any(fnmatchcase(text, pattern) for text in (row.user, row.client, row.session))
    return lambda row: _is_within(row.client, network)


def _is_within(client: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address) in network


def _kick(path: str, options: argparse.Namespace) -> int:
    status = 0
    for name in options.names:
        argument = os.fsencode(name)
        if not 0 < len(argument) <= ARGUMENT_BYTES:
            raise _Trouble(f"a name has 1 to {ARGUMENT_BYTES} bytes", EXIT_USAGE)
        rows, silent = _rows(path, Request.KICK, argument)
        if rows:
            _print_table(sorted(rows))
        elif not silent:
            sys.stderr.write(f"mailproxyctl: nobody matches {name}\n")
            status = status or EXIT_FAILED
        status = _warn_of_silent(silent) or status
    return status


def _explain(path: str, options: argparse.Namespace) -> int:
    service, _, client = options.where.partition("/")
    password = None
    if options.with_password:
        if sys.stdin.isatty():
            password = os.fsencode(getpass.getpass())
        else:
            password = sys.stdin.buffer.readline().rstrip(b"\r\n")
    inquiry = render_inquiry(Inquiry(os.fsencode(options.user), service or "imap", client, password))
    if len(inquiry) > INQUIRY_BYTES:
        raise _Trouble("user or password is too long", EXIT_USAGE)
    conversation = _Conversation(path, Request.EXPLAIN)
    conversation.send(inquiry)
    for _, text in conversation.answers(_AUTH_SILENCE_S):
        print(_for_people(text))
        return EXIT_FAILED if b"\nrefused" in text else 0
    raise _Trouble("auth does not answer", EXIT_INCOMPLETE)


def _reload(path: str, _options: argparse.Namespace) -> int:
    return _await(path, Request.RELOAD, "the new configuration is in use", "mailproxy ended meanwhile")


def _upgrade(path: str, _options: argparse.Namespace) -> int:
    return _await(path, Request.UPGRADE, "the new version serves", "mailproxy ended meanwhile")


def _await(path: str, request: Request, done: str, ended: str) -> int:
    for _, text in _Conversation(path, request).answers():
        print(_for_people(text) or done)
        return 0
    raise _Trouble(ended, EXIT_NOT_RUNNING)


def _stop(path: str, _options: argparse.Namespace) -> int:
    for _, text in _Conversation(path, Request.STOP).answers():
        print(_for_people(text))
    print("mailproxy has ended")
    return 0


_COMMANDS: dict[str, Callable[[str, argparse.Namespace], int]] = {
    "status": _status,
    "who": _who,
    "kick": _kick,
    "explain": _explain,
    "reload": _reload,
    "upgrade": _upgrade,
    "stop": _stop,
}


# -- print ------------------------------------------------------------------------------------------------


def _print_table(rows: Sequence[Row]) -> None:
    table = [_HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADINGS))]
    for line in table:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(padded).rstrip())


def _cells(row: Row) -> tuple[str, ...]:
    """Return what is shown: every cell is one word, so that other programs can read it."""
    tls = row.tls.split(" ")[0]
    cells = (row.user, row.protocol, row.client, row.backend, row.session, tls, _since(row.age_s))
    shown = (*cells, row.in_bytes, row.out_bytes, row.state, row.pid)
    return tuple(printable(cell).replace(" ", "\\x20") or "-" for cell in shown)


def _since(age_s: str) -> str:
    try:
        since = datetime.now() - timedelta(seconds=int(age_s))
    except (ValueError, OverflowError):
        return "?"
    return since.isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
