"""Plays one transcript against a real login worker: the test is the client, auth and the backend."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import time
import traceback
from pathlib import Path
from typing import Self

from mailproxy.auth.shares import Shares
from mailproxy.config.load import load as load_settings
from mailproxy.config.settings import LoginSettings
from mailproxy.ipc import log_frames
from mailproxy.ipc.escape import escape
from mailproxy.net.seen_certificates import SeenCertificates
from mailproxy.net.signals import unblock_all
from mailproxy.process import child, login, login_policy, syscall_filter
from tests.harness.session_recorder import CAPABILITY, FLAGS
from tests.harness.transcript import Step, Transcript, auth_message, unescape

PATIENCE_S = 2.0
SILENCE_S = 0.05
LOCAL, OTHER = "127.0.0.1", "127.0.0.2"
# Where the files say that the backend, the proxy and the client are.
_BACKENDS, _LIP, _RIP = "192.0.2.", "10.0.0.1", "10.0.0.5"
_BACKEND_6 = "2001:db8::1"
_KNOWN = frozenset(
    (
        *("protocol", "mechanisms", "secured", "disable_plaintext_auth", "greeting_capability"),
        *("verbose", "capability", "sockets", "split"),
    )
)
_TAG = re.compile(rb"P[0-9A-F]{8}")


def can_play(transcript: Transcript) -> bool:
    """Tell whether the dialogue needs no clock, no TLS and no random challenge."""
    settings = transcript.settings
    has_challenge = "APOP" in settings.get("mechanisms", "")
    return transcript.is_set("sockets", True) and settings.keys() <= _KNOWN and not has_challenge


class Lane:
    """One socket of the test: what came, and the part of it that was compared already."""

    def __init__(self, name: str, sock: socket.socket) -> None:
        self.name = name
        self.socket = sock
        self.has_ended = False
        self._in = b""
        sock.setblocking(False)

    def pump(self, timeout_s: float) -> None:
        """Read what comes within the time, up to one piece."""
        if not self.has_ended and select.select([self.socket], [], [], timeout_s)[0]:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            self.has_ended = not data
            self._in += data

    def take(self, count: int) -> bytes:
        """Take that many bytes, fewer when no more come."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self._in) < count and not self.has_ended and time.monotonic() < deadline:
            self.pump(0.1)
        data, self._in = self._in[:count], self._in[count:]
        return data

    def line(self) -> bytes:
        """Take a line with its end."""
        deadline = time.monotonic() + PATIENCE_S
        while b"\n" not in self._in and not self.has_ended and time.monotonic() < deadline:
            self.pump(0.1)
        line, end, self._in = self._in.partition(b"\n")
        return line + end

    def take_end(self) -> None:
        """The peer has to close, and to say nothing more before that."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.has_ended and time.monotonic() < deadline:
            self.pump(0.1)
        assert self.has_ended, f"lane {self.name} was not closed"
        self.expect_nothing(0)

    def expect_nothing(self, for_s: float) -> None:
        self.pump(for_s)
        assert self._in == b"", f"lane {self.name}: nobody expected {self._in!r}"

    def send(self, data: bytes) -> None:
        self.socket.setblocking(True)
        self.socket.settimeout(PATIENCE_S)
        try:
            self.socket.sendall(data)
        finally:
            self.socket.setblocking(False)


class SocketRun:
    """Owns the worker process and all sockets, until the end of its `with` block."""

    def __init__(self, transcript: Transcript, folder: Path) -> None:
        self._transcript = transcript
        self._close = contextlib.ExitStack()
        self._secured = transcript.is_set("secured")
        self._backend_listener = self._listener()
        self._backend_port = self._backend_listener.getsockname()[1]
        self._auth_listener = self._close.enter_context(socket.socket(socket.AF_UNIX))
        self._auth_listener.bind(str(folder / "auth"))
        (folder / "auth").chmod(0o666)
        self._auth_listener.listen()
        self._auth_listener.settimeout(PATIENCE_S)
        self._log_fd, log_end = os.pipe()
        os.set_blocking(self._log_fd, False)
        self._close.callback(os.close, self._log_fd)
        self._log = b""
        self._tag = b""
        self._backend: Lane | None = None
        self._request_id = b""
        self._pid = 0
        try:
            self._pid = self._fork(self._settings(folder), log_end)
            os.close(log_end)
            self._auth = self._accept_auth()
            address = self._client_listener.getsockname()
            source = LOCAL if self._secured else OTHER
            sock = socket.create_connection(address, PATIENCE_S, (source, 0))
            self._client = Lane("C", self._close.enter_context(sock))
        except BaseException:
            self.close()
            raise

    def _listener(self) -> socket.socket:
        listener = self._close.enter_context(socket.create_server((LOCAL, 0)))
        listener.settimeout(PATIENCE_S)
        return listener

    def _settings(self, folder: Path) -> LoginSettings:
        header = self._transcript
        protocol = header.settings["protocol"]
        capability = header.settings.get("capability") or CAPABILITY[protocol]
        path = folder / "dovecot.conf"
        path.write_text(
            f"base_dir = {folder}\nlogin_dir = {folder}\nprotocols = {protocol}\nssl_disable = yes\n"
            f"login_chroot = no\nlogin_user = nobody\n"
            f"login_process_per_connection = no\nlogin_process_size = 0\n"
            f"login_greeting = Dovecot ready.\n{protocol}_capability = {capability}\n"
            f"login_greeting_capability = {'yes' if header.is_set('greeting_capability') else 'no'}\n"
            f"disable_plaintext_auth = {'yes' if header.is_set('disable_plaintext_auth') else 'no'}\n"
            f"auth_verbose = {'yes' if header.is_set('verbose') else 'no'}\n"
            f"auth default {{\n  passdb static {{\n    args = nopassword=y\n  }}\n"
            f"  userdb static {{\n    args = uid=0 gid=0\n  }}\n}}\n"
        )
        (settings,) = load_settings(str(path)).logins
        return settings

    def _fork(self, settings: LoginSettings, log_end: int) -> int:
        listener = self._client_listener = self._listener()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._close.enter_context(ours)
        syscall_filter.loadable()  # As the master does: a worker cannot compile it any more.
        pid = os.fork()
        if pid:
            theirs.close()
            return pid
        status = 1
        try:
            listener.setblocking(False)
            child.wire_standard_fds(log_end)
            child.keep_only([listener.fileno(), theirs.fileno()])
            unblock_all()
            policy = login_policy.make_policy(settings, (), has_tls=False)
            seen, auths = SeenCertificates(), [Shares(("auth",))]
            login.Worker(settings, [listener], [], None, None, seen, auths, policy).run(theirs)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _accept_auth(self) -> Lane:
        sock, _ = self._auth_listener.accept()
        lane = Lane("A", self._close.enter_context(sock))
        hello = b"VERSION\t1\t0\n"
        for name in self._transcript.settings.get("mechanisms", "PLAIN").split():
            hello += b"\t".join([b"MECH", name.encode(), *sorted(FLAGS[name.encode()])]) + b"\n"
        lane.send(hello + b"SPID\t1\nCUID\t2\nDONE\n")
        version = lane.line()
        assert version.startswith(b"VERSION\t1\t"), version
        assert re.fullmatch(rb"CPID\t\d+\n", lane.line())
        return lane

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill the worker and close everything."""
        with self._close:
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)

    # -- playing ------------------------------------------------------------------------------------------

    def play(self) -> None:
        """Raises AssertionError with file and line where the dialogue differs."""
        steps = self._transcript.steps
        for index, step in enumerate(steps):
            try:
                if step.is_input:
                    self._happen(step, steps[index + 1] if index + 1 < len(steps) else None)
                else:
                    self._expect(step)
            except (AssertionError, OSError) as error:
                where = f"{self._transcript.path}:{step.line}"
                raise AssertionError(f"{where}: {error!r}; logged: {self._log!r}") from error
        for lane in (self._client, self._auth, self._backend):
            if lane is not None:
                lane.expect_nothing(SILENCE_S)

    _waiting = b""

    def _happen(self, step: Step, following: Step | None) -> None:
        if step.lane in ("C<", "B<") and not step.is_command:
            self._waiting += step.data.replace(b"$TAG", self._tag or b"PXXXXXXXX")
            goes_on = following is not None and following.lane == step.lane and not following.is_command
            if not goes_on:
                data, self._waiting = self._waiting, b""
                self._lane(step).send(data)
            return
        word, _, rest = step.text.partition(" ")
        match step.lane, word:
            case "C<", "!eof":
                self._client.socket.shutdown(socket.SHUT_WR)
            case "B<", "!lost":
                self._lane(step).socket.shutdown(socket.SHUT_WR)
            case "A<", "!lost":
                self._auth.socket.close()
                self._auth = self._accept_auth()
            case "A<", _:
                self._auth.send(self._auth_line(word, rest))
            case _:
                raise AssertionError(f"{step.lane} {step.text} cannot happen on a socket")

    def _lane(self, step: Step) -> Lane:
        if step.lane[0] == "C":
            return self._client
        assert self._backend is not None
        return self._backend

    def _auth_line(self, word: str, rest: str) -> bytes:
        if word == "CONT":
            return b"CONT\t%s\t%s\n" % (self._request_id, auth_message(rest or '""') or b"")
        words = [word.encode(), self._request_id]
        names = {item.partition("=")[0] for item in rest.split()}
        for item in rest.split():
            name, equals, value = item.partition("=")
            raw = unescape(value)
            if (
                name == "host"
                and "proxy" in names
                and raw.startswith((_BACKENDS.encode(), _BACKEND_6.encode()))
            ):
                raw = LOCAL.encode()
                if not re.search(r"\bport=\d", rest):
                    words.append(b"port=%d" % self._backend_port)
            elif name == "port" and not value:
                continue
            elif name == "port" and "proxy" in names and value.isdigit() and 0 < int(value) < 65536:
                raw = b"%d" % self._backend_port
            words.append(name.encode() + (b"=" + escape(raw) if equals else b""))
        return b"\t".join(words) + b"\n"

    def _expect(self, step: Step) -> None:
        word, _, rest = step.text.partition(" ")
        if step.lane == "log:":
            self._expect_log(word, rest)
        elif step.lane == "A>":
            self._expect_auth(word, rest)
        elif word == "!dial":
            sock, _ = self._backend_listener.accept()
            self._backend = Lane("B", self._close.enter_context(sock))
        elif word == "!hang":
            self._lane(step).take_end()
            self._backend = None
        elif word == "!close":
            self._client.take_end()
        elif word != "!detach":
            self._expect_bytes(self._lane(step), step.data)

    def _expect_bytes(self, lane: Lane, expected: bytes) -> None:
        if lane.name == "B" and b"$TAG" in expected:
            expected = expected.replace(b"$TAG", self._tag or b"PXXXXXXXX")
            found = lane.take(len(expected))
            if tag := _TAG.match(found):
                self._tag = tag[0]
            expected = expected.replace(b"PXXXXXXXX", self._tag)
        else:
            found = lane.take(len(expected))
        assert found == expected, f"lane {lane.name}: {found!r} instead of {expected!r}"

    def _expect_auth(self, word: str, rest: str) -> None:
        verb, self._request_id, *parameters = self._auth.line().rstrip(b"\n").split(b"\t")
        if word == "cancel":
            assert (verb, parameters) == (b"CANCEL", []), (verb, parameters)
        elif word == "answer":
            assert (verb, parameters) == (b"CONT", [auth_message(rest) or b""]), (verb, parameters)
        else:
            mechanism, _, message = rest.partition(" ")
            expected = [mechanism.encode(), b"service=" + self._transcript.settings["protocol"].encode()]
            expected += [b"secured"] if self._secured else []
            rip = LOCAL if self._secured else OTHER
            expected += [b"lip=" + LOCAL.encode(), b"rip=" + rip.encode()]
            response = auth_message(message)
            expected += [] if response is None else [b"resp=" + response]
            assert (verb, parameters) == (b"AUTH", expected), (verb, parameters)

    def _expect_log(self, level: str, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while b"\n" not in self._log and time.monotonic() < deadline:
            if select.select([self._log_fd], [], [], 0.1)[0]:
                self._log += os.read(self._log_fd, 65536)
        line, _, self._log = self._log.partition(b"\n")
        found_level, found = log_frames.parse(line)
        expected = re.sub(re.escape(_BACKENDS) + r"\d+", LOCAL, text.replace(_BACKEND_6, LOCAL)).replace(
            _LIP, LOCAL
        )
        expected = expected.replace(_RIP, LOCAL if self._secured else OTHER)
        expected = re.sub(r"(127\.0\.0\.1[:,] ?)(143|110|\d{4,5})\b", rf"\g<1>{self._backend_port}", expected)
        expected = expected.replace("TAG7X", self._tag.decode() or "PXXXXXXXX")
        if " disconnected: " in expected:  # The reason is the kernel's.
            expected, found = (words.partition(" disconnected: ")[0] for words in (expected, found))
        assert (found_level.value, found) == (level, expected)
