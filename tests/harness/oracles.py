"""The standard oracles S1 to S7: what must hold after every hostile act."""

from __future__ import annotations

import base64
import os
import re
import time
from pathlib import Path

import psutil

from tests.harness.arena import Arena
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until

FD_SLACK = 2
# A worker breathes by 2 MiB: what is freed goes back by pieces of 1 MiB, and not at once.
RSS_SLACK_BYTES = 4 << 20
LOG_LINE_BYTES = 1024
BYSTANDER_S = 1.0
SERVICE_S = 2.0
LEAK_S = 5.0
_IMAP_LOGIN = rb'P[0-9A-F]{8} LOGIN "%s" "%s"\r\n'
_LOG_LINE = re.compile(rb"dovecot: [A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d (Info|Warning|Error|Fatal): [ -~]+")
_DEBUG = b" Info: auth(default): client "


class Oracles:
    """Watches one arena; `begin` before a row, `check` after it."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._processes: list[psutil.Process] = self._lasting()
        self._bystanders = [arena.login(protocol, b"bystander", arena.GUEST) for protocol in ("imap", "pop3")]
        self._secrets: set[bytes] = set()
        self._log_offset = 0
        self._rss: dict[int, int] = {}
        at_rest = {
            p.pid: p.num_fds()
            for p in arena.proxy.children("imap-login") + arena.proxy.children("pop3-login")
            if not arena.per_connection
        }
        # Where each has one of its own: the bystanders', and a spare one for each protocol.
        self._workers = len(self._bystanders) + 2
        self._warm_up()
        wait_until(
            "the workers are at rest",
            lambda: all(len(os.listdir(f"/proc/{pid}/fd")) <= fds for pid, fds in at_rest.items()),
        )
        self._fds = {p.pid: p.num_fds() for p in self._processes}

    def _lasting(self) -> list[psutil.Process]:
        """Return those that no client's coming or going should change."""
        proxy = self._arena.proxy
        if self._arena.per_connection:
            return [psutil.Process(proxy.pid), *proxy.children("auth")]
        return proxy.processes()

    def _warm_up(self) -> None:
        """Make every process meet each kind of event once, so that later growth is a leak."""
        for protocol in ("imap", "pop3"):
            for _ in range(20):
                self._arena.login(protocol, b"guest", self._arena.GUEST).close()
            for _ in range(20):
                with self._arena.client(protocol) as client:
                    verb = b"a1 AUTHENTICATE" if protocol == "imap" else b"AUTH"
                    client.ask(verb + b" PLAIN\r\n")
                    client.ask(b"*\r\n")
        self._fill_the_pool()
        self._arena.house_imap.peers.clear()
        self._arena.house_pop3.peers.clear()

    def _fill_the_pool(self) -> None:
        """Have auth open all its threads and connections, which it keeps: a locked database holds them."""
        clients = [self._arena.client() for _ in range(40)]
        self._arena.database.execute("BEGIN EXCLUSIVE")
        for client in clients:
            client.send(b"a1 LOGIN mary wrong\r\n")
        (auth,) = self._arena.proxy.children("auth")
        wait_until("all threads of auth wait", lambda: auth.num_threads() > 30)
        self._arena.database.execute("ROLLBACK")
        for client in clients:
            assert client.line().startswith(b"a1 NO [AUTHENTICATIONFAILED] ")
            client.close()

    def begin(self) -> None:
        """Take the baseline of a row."""
        self._secrets = {self._arena.JOHN, self._arena.MARY, self._arena.GUEST}
        self._log_offset = self._arena.proxy.log.stat().st_size
        self._rss = {p.pid: p.memory_info().rss for p in self._processes}

    def keep_secret(self, *words: bytes) -> None:
        """Look for these in the log too, in plain, base64 and hex."""
        self._secrets.update(words)

    def check(self) -> None:
        """Assert S1 to S5 and S7; idleness takes its time and is looked at in `close`."""
        self._check_alive()
        self._check_bystander()
        self._check_service()
        self._check_leaks()
        self._check_log()
        self._arena.check()

    def _check_alive(self) -> None:
        before = sorted(self._processes, key=lambda p: p.pid)
        now = sorted(self._lasting(), key=lambda p: p.pid)
        assert now == before, f"S1: {before} became {now}"

    def _check_bystander(self) -> None:
        block = bytes(range(256)) * 4
        for client in self._bystanders:
            start = time.monotonic()
            client.send(block)
            assert client.take(len(block)) == block, "S2: the bystander's session is broken"
            took_s = time.monotonic() - start
            assert took_s < BYSTANDER_S, f"S2: an echo took {took_s:.2f} s"

    def _check_service(self) -> None:
        arena = self._arena
        expected = {
            "imap": _IMAP_LOGIN % (b"guest", arena.GUEST) + b"ping",
            "pop3": b"USER guest\r\nPASS " + arena.GUEST + b"\r\nping",
        }
        for protocol, backend in (("imap", arena.house_imap), ("pop3", arena.house_pop3)):
            farewell = b"%s-login: proxy(guest): disconnecting" % protocol.encode()
            ended = self.log_since_begin().count(farewell)
            start = time.monotonic()
            with arena.login(protocol, b"guest", arena.GUEST) as client:
                took_s = time.monotonic() - start
                assert took_s < SERVICE_S, f"S3: a login took {took_s:.2f} s"
                client.send(b"ping")
                assert client.take(4) == b"ping"
            (peer,) = backend.wait_peers(1)
            assert re.fullmatch(expected[protocol], bytes(peer.received)), f"S7: {bytes(peer.received)!r}"
            backend.peers.clear()
            # Its lines must not be found among those of the next row.
            wait_until(
                "the end of the service login is logged",
                lambda said=farewell, ended=ended: self.log_since_begin().count(said) > ended,  # type: ignore[misc]
            )

    def _count_workers(self) -> int:
        return sum(len(self._arena.proxy.children(f"{protocol}-login")) for protocol in ("imap", "pop3"))

    def _check_leaks(self) -> None:
        if self._arena.per_connection:
            # Its descriptors and memory go with a process.
            wait_until(
                f"S4: no more than {self._workers} workers are left",
                lambda: self._count_workers() <= self._workers,
                LEAK_S,
            )
        for process in self._processes:
            fds, rss = self._fds[process.pid], self._rss[process.pid]
            wait_until(
                f"S4: descriptors of {process.cmdline()[0]} are back to {fds}",
                lambda p=process, fds=fds: p.num_fds() <= fds + FD_SLACK,  # type: ignore[misc]
                LEAK_S,
            )
            grown = process.memory_info().rss - rss
            assert grown < RSS_SLACK_BYTES, f"S4: {process.cmdline()[0]} grew by {grown >> 10} KiB"

    def log_since_begin(self) -> bytes:
        """Return what was logged in this row."""
        with self._arena.proxy.log.open("rb") as log:
            log.seek(self._log_offset)
            return log.read()

    def _check_log(self) -> None:
        text = self.log_since_begin()
        for line in text.splitlines():
            # Under auth_debug the lines of the auth protocol are shown with their TABs, as Dovecot does.
            shown = line.replace(b"\t", b" ") if _DEBUG in line else line
            assert _LOG_LINE.fullmatch(shown), f"S5: not one printable record: {line!r}"
            assert len(line) <= LOG_LINE_BYTES, f"S5: a line of {len(line)} bytes: {line!r}"
            assert b"Traceback" not in line, f"S5: {line!r}"
            assert b"BUG:" not in line, f"S5: {line!r}"
        for secret in self._secrets:
            for form in _forms(secret):
                assert form.lower() not in text.lower(), f"S5: a secret as {form!r} in the log"

    def check_idle(self, for_s: float) -> None:
        """S6: nobody spins; a tenth of a second of CPU in two, and two clock ticks of grace.

        What is done once, like the sweep behind a login, takes its time on a busy machine: who spins is
        still at it at the third look.
        """
        for _ in range(3):
            before_s = self._cpu_s()
            time.sleep(for_s)  # idleness has no event to wait for
            used_s = self._cpu_s() - before_s
            if used_s < 0.05 * for_s + 0.02:
                return
        raise AssertionError(f"S6: {used_s:.3f} s of CPU in {for_s:g} s")

    def _cpu_s(self) -> float:
        return sum(_schedstat_s(process.pid) for process in self._processes)

    def close(self) -> None:
        """S6, then let the bystanders go."""
        self.check_idle(1.0)
        for client in self._bystanders:
            client.close()


def _schedstat_s(pid: int) -> float:
    """Return the CPU time of all threads, to the nanosecond where the kernel tells."""
    return (
        sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    )


def _forms(secret: bytes) -> list[bytes]:
    """Return the secret in plain, in hex, and as base64 shows it at each of the three alignments."""
    forms = [secret, secret.hex().encode()]
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + secret)
        first = (shift * 8 + 5) // 6
        last = (shift + len(secret)) * 8 // 6
        forms.append(whole[first:last])
    return [form for form in forms if len(form) >= 5]


def memory_kib(arena: Arena, *roles: str) -> int:
    """Return the resident memory of all processes of these roles together; of the largest if they change."""
    each = [p.memory_info().rss for role in roles for p in arena.proxy.children(role)]
    return (max(each) if arena.per_connection else sum(each)) >> 10


def closes_within(client: RawClient, limit_s: float) -> bytes:
    """Return the rest of what the client gets; the connection has to end in time."""
    start = time.monotonic()
    rest = client.rest()
    took_s = time.monotonic() - start
    assert took_s < limit_s, f"closed after {took_s:.2f} s, not within {limit_s:g} s"
    return rest
