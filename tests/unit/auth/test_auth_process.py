"""The real auth process in a child, seen through its socket."""

from __future__ import annotations

import base64
import resource
import signal
import socket
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mailproxy.auth.database import Row, Values
from mailproxy.config.settings import AuthSettings, DatabaseSettings
from tests.unit.auth.auth_child import SETTINGS, AuthChild, Connection, Table, plain, wait_until

JOHN = Row(b"s", {"proxy": "Y", "host": "10.0.0.1"})
OK = b"OK\t%d\tuser=john\tproxy\thost=10.0.0.1\tpass=s"
CACHED = replace(SETTINGS, cache_size_bytes=1 << 20, debug=True)


class Held(Table):
    """A blocking passdb: users whose name begins with `slow` wait for a file to appear."""

    def __init__(self, rows: dict[str, Row], gate: Path) -> None:
        super().__init__(rows, blocking=True)
        self.path = gate

    def lookup(self, values: Values) -> Row | None:
        if values["u"].startswith("slow"):
            wait_until(self.path.exists)
        return self.rows.get(values["u"].removeprefix("slow"))


def john() -> Table:
    return Table({"john": JOHN, "fast": Row(b"s", {"nodelay": ""})})


def count(child: AuthChild, text: str) -> int:
    return sum(text in line for line in child.log())


def test_greeting_then_login(tmp_path: Path) -> None:
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        client = child.connect()
        expected = [b"MECH\tPLAIN\tplaintext", b"VERSION\t1\t0", b"SPID\t%d" % child.pid, b"CUID\t1", b"DONE"]
        assert client.greeting == expected
        client.ask(1, plain(b"john", b"s"))
        assert client.line() == OK % 1
        assert child.connect().greeting[3] == b"CUID\t2"


def test_with_the_static_passdb(tmp_path: Path) -> None:
    """The real driver, opened by the process itself."""
    passdb = DatabaseSettings("static", "proxy=y host=10.0.0.9 nopassword=y")
    with AuthChild(tmp_path, replace(SETTINGS, passdbs=(passdb,))) as child:
        client = child.connect()
        client.ask(1, plain(b"joe", b"any"))
        assert client.line() == b"OK\t1\tuser=joe\tproxy\thost=10.0.0.9\tpass=any"


def test_answers_of_one_batch_leave_together(tmp_path: Path) -> None:
    with AuthChild(tmp_path, CACHED, [john()]) as child:
        client = child.connect()
        parameters = b"service=imap\tresp=" + plain(b"john", b"s")
        client.send(b"".join(b"AUTH\t%d\tPLAIN\t%s\n" % (number, parameters) for number in range(1, 101)))
        assert [client.line() for _ in range(100)] == [OK % number for number in range(1, 101)]


@pytest.mark.parametrize(
    "data",
    [
        b"x" * (1 << 20),
        b"AUTH\t1\tPLAIN\tservice=imap\tresp=" + b"A" * 40000 + b"\n",
        b"AUTH\t0\tPLAIN\tservice=imap\n",
        b"AUTH\t1\tPLAIN\tservice=imap\nAUTH\t1\tPLAIN\tservice=imap\n",
        b"AUTH\t1\tPLAIN\tlip=1\n",
        b"AUTH\t1\tPLAIN\tservice=imap\tresp=AA==\tsecured\n",
        b"CPID\t5\n",
        b"VERSION\t2\t0\n",
        b"CONT\t0\tx\n",
        b"AUTH\n",
        b"".join(b"AUTH\t%d\tPLAIN\tservice=imap\n" % number for number in range(1, 20002)),
    ],
)
def test_violations_end_one_connection(tmp_path: Path, data: bytes) -> None:
    """A12: whatever a hostile worker sends, the others go on."""
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        good, bad = child.connect(), child.connect()
        try:
            bad.send(data)
            wait_until(bad.is_closed)
        except (BrokenPipeError, ConnectionResetError):
            pass
        good.ask(1, plain(b"john", b"s"))
        assert good.line() == OK % 1
        child.wait_for_log("E auth client 4711: ")


@pytest.mark.parametrize(
    "data", [b"AUTH\t1\tPLAIN\tservice=imap\n", b"CPID\t1\n", b"VERSION\t1\t0\nCPID\t0\n"]
)
def test_handshake_has_to_be_complete(tmp_path: Path, data: bytes) -> None:
    """A12: requests before VERSION and CPID."""
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        client = Connection(child.path, greet=False)
        client.send(data)
        while client.line():
            pass
        client.close()


def test_bad_user_data_ends_one_request(tmp_path: Path) -> None:
    """A13: the connection and the others' logins stay."""
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        client = child.connect()
        client.ask(1, b"%%%")
        client.ask(2, plain(b"john", b"s"), b"NOSUCH")
        client.send(b"CONT\t77\tAA==\n" + b"NEWCOMMAND\tx\n")
        client.ask(3, plain(b"john", b"s"))
        assert [client.line() for _ in range(4)] == [
            b"FAIL\t1\treason=Invalid base64 data in initial response",
            b"FAIL\t2\treason=Unsupported authentication mechanism.",
            b"FAIL\t77\treason=Timeouted",
            OK % 3,
        ]


def test_ids_belong_to_a_connection(tmp_path: Path) -> None:
    """A12: another connection's id is unknown here."""
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        one, two = child.connect(1), child.connect(2)
        one.send(b"AUTH\t5\tPLAIN\tservice=imap\n")
        assert one.line() == b"CONT\t5\t"
        two.send(b"CONT\t5\t" + plain(b"john", b"s") + b"\n")
        assert two.line() == b"FAIL\t5\treason=Timeouted"
        one.send(b"CONT\t5\t" + plain(b"john", b"s") + b"\n")
        assert one.line() == OK % 5


def test_failures_wait_and_others_do_not(tmp_path: Path) -> None:
    """A19: 200 failures, a good login in between, all refusals on one beat; nodelay at once."""
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        client = child.connect()
        begun = time.monotonic()
        for number in range(1, 201):
            client.ask(number, plain(b"john", b"wrong"))
        client.ask(201, plain(b"john", b"s"))
        client.ask(202, plain(b"fast", b"wrong"))
        answers = [client.line() for _ in range(202)]
        lasted_s = time.monotonic() - begun
        quick = {OK % 201, b"FAIL\t202\tuser=fast"}
        assert set(answers) == quick | {b"FAIL\t%d\tuser=john" % number for number in range(1, 201)}
        assert {answers.index(line) for line in quick} != {200, 201}
        assert lasted_s < 2.5


def test_cancelled_and_left(tmp_path: Path) -> None:
    """A19, A24: no answer to a request that was cancelled; its id is free again."""
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        client, leaver = child.connect(), child.connect()
        leaver.ask(1, plain(b"john", b"wrong"))
        leaver.close()
        client.ask(1, plain(b"john", b"wrong"))
        client.send(b"CANCEL\t1\n")
        client.ask(1, plain(b"john", b"s"))
        client.ask(2, plain(b"john", b"wrong"))
        assert [client.line(), client.line()] == [OK % 1, b"FAIL\t2\tuser=john"]


def test_slow_lookups_delay_nobody(tmp_path: Path) -> None:
    """A15, A24: others are answered meanwhile; the answer to a client that left reaches no one."""
    gate = tmp_path / "gate"
    with AuthChild(tmp_path, SETTINGS, [Held({"john": JOHN}, gate)]) as child:
        client, leaver = child.connect(), child.connect()
        for number in range(1, 11):
            client.ask(number, plain(b"slowjohn", b"s"))
        leaver.ask(1, plain(b"slowjohn", b"s"))
        leaver.close()
        client.ask(11, plain(b"john", b"s"))
        assert client.line() == OK % 11
        gate.touch()
        answers = {client.line() for _ in range(10)}
        assert answers == {(OK % number).replace(b"user=john", b"user=slowjohn") for number in range(1, 11)}


def test_full_queue_fails_at_once(tmp_path: Path) -> None:
    """X09: 2000 logins while the database hangs; memory stays."""
    gate = tmp_path / "gate"
    settings = replace(SETTINGS, worker_max_count=2)
    with AuthChild(tmp_path, settings, [Held({"john": JOHN}, gate)]) as child:
        client = child.connect()
        before = psutil.Process(child.pid).memory_info().rss
        for number in range(1, 2001):
            client.ask(number, plain(b"slowjohn", b"s"))
        refused = [client.line() for _ in range(2000 - 1024 - 2)]
        assert all(line.endswith(b"\tuser=slowjohn\ttemp") for line in refused)
        assert psutil.Process(child.pid).memory_info().rss - before < 20 << 20
        assert count(child, "All auth workers are busy") <= 3
        gate.touch()
        assert all(client.line().startswith(b"OK\t") for _ in range(1026))


def test_all_threads_fit_into_a_tight_memory_limit(tmp_path: Path) -> None:
    """X09: where no more threads can start, those that run do the work."""
    gate = tmp_path / "gate"
    with AuthChild(tmp_path, SETTINGS, [Held({"john": JOHN}, gate)]) as child:
        used = psutil.Process(child.pid).memory_info().vms
        resource.prlimit(child.pid, resource.RLIMIT_AS, (used + (10 << 20), used + (10 << 20)))
        client = child.connect()
        for number in range(1, 41):
            client.ask(number, plain(b"slowjohn", b"s"))
        client.ask(41, plain(b"john", b"wrong"))
        wait_until(lambda: psutil.Process(child.pid).num_threads() > 2)
        gate.touch()
        answers = [client.line() for _ in range(41)]
        assert sum(line.startswith(b"OK\t") for line in answers) == 40
        assert 2 < psutil.Process(child.pid).num_threads() < 31


def test_hangup_clears_the_cache(tmp_path: Path) -> None:
    """A25: the next login of a cached user asks the database once; SIGUSR2 tells the figures."""
    with AuthChild(tmp_path, CACHED, [john()]) as child:
        client = child.connect()
        for number in range(1, 4):
            client.ask(number, plain(b"john", b"s"))
            assert client.line() == OK % number
        child.signal(signal.SIGUSR2)
        child.wait_for_log("Authentication cache hits 2/3 (66%)")
        child.signal(signal.SIGHUP)
        child.wait_for_log("SIGHUP received, clearing cache")
        client.ask(4, plain(b"john", b"s"))
        assert client.line() == OK % 4
        assert count(child, "cache(john,10.0.0.5): miss") == 2
        child.signal(signal.SIGUSR2)
        child.wait_for_log("Authentication cache hits 0/1 (0%)")


def test_hangup_without_a_cache_is_ignored(tmp_path: Path) -> None:
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGPIPE):
            child.signal(number)
        client = child.connect()
        client.ask(1, plain(b"john", b"s"))
        assert client.line() == OK % 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_terminated(tmp_path: Path, number: signal.Signals) -> None:
    """Held failures are delivered, then it leaves with 0."""
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        client = child.connect()
        client.ask(1, plain(b"john", b"wrong"))
        child.wait_for_log("Password mismatch")
        child.signal(number)
        assert client.line() == b"FAIL\t1\tuser=john"
        assert child.exit_code() == 0


@pytest.mark.parametrize("by_order", [True, False])
def test_retired_or_orphaned(tmp_path: Path, by_order: bool) -> None:
    """No new connections, the old one is served to its end."""
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        client = child.connect()
        if by_order:
            child.retire()
        else:
            child.master.close()

        def refuses() -> bool:
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect_ex(child.path) != 0

        wait_until(refuses)
        client.ask(1, plain(b"john", b"s"))
        assert client.line() == OK % 1
        client.close()
        assert child.exit_code() == 0


def fatal(tmp_path: Path, settings: AuthSettings, passdbs: list[Table] | None = None) -> str:
    child = AuthChild(tmp_path, settings, list(passdbs) if passdbs is not None else None)
    try:
        assert child.exit_code() == 89
        return "\n".join(child.log())
    finally:
        child.__exit__()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            replace(SETTINGS, passdbs=()),
            "F No passdbs specified in configuration file. PLAIN mechanism needs one",
        ),
        (replace(SETTINGS, mechanisms=("NOPE",)), "F Unknown authentication mechanism 'NOPE'"),
        (replace(SETTINGS, mechanisms=()), "F No authentication mechanisms configured"),
        (replace(SETTINGS, passdbs=(DatabaseSettings("nosuch", ""),)), "Unknown passdb driver 'nosuch'"),
    ],
)
def test_fatal_at_start(tmp_path: Path, settings: AuthSettings, text: str) -> None:
    """4.3's checks: one fatal line, exit status 89."""
    assert text in fatal(tmp_path, settings)


def test_debug_lines_hide_secrets(tmp_path: Path) -> None:
    """C16: `<hidden>` in place of what was typed, unless auth_debug_passwords."""
    typed = plain(b"john", b"topsecret")
    for shown in (False, True):
        where = tmp_path / str(shown)
        where.mkdir()
        settings = replace(SETTINGS, debug=True, debug_passwords=shown)
        with AuthChild(where, settings, [Table({"john": Row(None, JOHN.fields)})]) as child:
            client = child.connect()
            client.ask(1, typed)
            client.send(b"AUTH\t2\tPLAIN\tservice=imap\nCONT\t2\t" + typed + b"\n" + b"TOPSECRET\tx\n")
            lines = [client.line() for _ in range(3)]
            assert lines[0].endswith(b"pass=topsecret")
            child.wait_for_log("client in (unknown command): ")
            text = "\n".join(child.log())
            assert ("client in: AUTH\t1\tPLAIN\tservice=imap\tlip=127.0.0.1\trip=10.0.0.5\tresp=") in text
            assert ("resp=<hidden>" in text, "CONT<hidden>" in text, "pass=<hidden>" in text) == (
                not shown,
            ) * 3
            assert ("topsecret" in text, typed.decode() in text, "TOPSECRET" in text) == (shown,) * 3


def test_threads_start_when_needed(tmp_path: Path) -> None:
    """A login that needs no database costs no thread."""
    with AuthChild(tmp_path, SETTINGS, [john()]) as child:
        client = child.connect()
        client.ask(1, plain(b"john", b"s"))
        client.line()
        assert psutil.Process(child.pid).num_threads() == 1


def test_name_is_resolved_in_a_thread(tmp_path: Path) -> None:
    """A23: by the system, without holding up others."""
    rows = {"john": JOHN, "named": Row(b"s", {"proxy": "", "host": "localhost", "port": "143"})}
    with AuthChild(tmp_path, SETTINGS, [Table(rows)]) as child:
        client = child.connect()
        asks = ((1, plain(b"named", b"s")), (2, plain(b"john", b"s")))
        client.send(b"".join(b"AUTH\t%d\tPLAIN\tservice=imap\tresp=%s\n" % ask for ask in asks))
        # That of the address needs no thread, so it comes first.
        assert client.line() == OK % 2
        words = client.line().split(b"\t")
        assert words[:5] == [b"OK", b"1", b"user=named", b"proxy", b"host=localhost"]
        assert set(words[5].removeprefix(b"hostip=").split(b",")) <= {b"127.0.0.1", b"::1"}
        assert words[6:] == [b"port=143", b"pass=s"]


def test_certificates(tmp_path: Path) -> None:
    """The worker's words about a client certificate, escaped as on the wire."""
    settings = replace(SETTINGS, ssl_require_client_cert=True, ssl_username_from_cert=True, username_chars="")
    rows = {"john": JOHN, "o\tx": JOHN}
    with AuthChild(tmp_path, settings, [Table(rows)]) as child:
        client = child.connect()
        resp = b"resp=" + plain(b"nobody", b"s")
        client.send(b"AUTH\t1\tPLAIN\tservice=imap\t" + resp + b"\n")
        assert client.line() == b"FAIL\t1\treason=Client didn't present valid SSL certificate"
        for number, name in ((2, b"john"), (3, b"o\x01tx")):
            certified = b"valid-client-cert\tcert_username=" + name
            client.send(b"AUTH\t%d\tPLAIN\tservice=imap\t%s\t%s\n" % (number, certified, resp))
            assert client.line() == (OK % number).replace(b"user=john", b"user=" + name)
        client.send(b"AUTH\t4\tPLAIN\tservice=imap\tvalid-client-cert\t" + resp + b"\n")
        assert client.line() == b"FAIL\t4\tuser=nobody"


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_tokens_are_in_no_log(tmp_path: Path, mechanism: str) -> None:
    """C16: not even with auth_debug_passwords, in no direction."""
    settings = replace(SETTINGS, mechanisms=("PLAIN", mechanism), debug=True, debug_passwords=True)
    rows = {"john": Row(None, {"proxy": "", "host": "10.0.0.1", "proxy_mech": mechanism})}
    head = b"user=john" if mechanism == "XOAUTH2" else b"n,a=john,"
    message = base64.b64encode(head + b"\x01auth=Bearer top.secret.token\x01\x01")
    with AuthChild(tmp_path, settings, [Table(rows)]) as child:
        client = child.connect()
        assert b"MECH\t%s\tplaintext" % mechanism.encode() in client.greeting
        client.ask(1, message, mechanism.encode())
        assert client.line().endswith(b"\tproxy_mech=%s\tpass=top.secret.token" % mechanism.encode())
        client.send(b"AUTH\t2\t%s\tservice=imap\n" % mechanism.encode())
        assert client.line() == b"CONT\t2\t"
        client.send(b"CONT\t2\t" + message + b"\n")
        assert client.line().endswith(b"\tpass=top.secret.token")
        child.wait_for_log("client out: OK\t2")
        shown = "\n".join(child.log())
        assert "top.secret" not in shown
        assert message.decode() not in shown
        assert "<hidden>" in shown


def test_name_service_that_hangs_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B01, A23: neither addresses nor lookups wait for DNS; one query serves all who want a name."""
    gate, asked = tmp_path / "dns", tmp_path / "asked"
    asked.touch()

    def query(name: str) -> tuple[str, ...]:
        with asked.open("a") as file:
            file.write(name + "\n")
        wait_until(gate.exists)
        return ("10.0.0.7",)

    monkeypatch.setattr("mailproxy.auth.resolver.query_system", query)
    rows = {f"user{n}": Row(b"s", {"proxy": "", "host": f"host{n % 20}"}) for n in range(40)}
    table = Table({"john": JOHN, **rows}, blocking=True)
    with AuthChild(tmp_path, replace(SETTINGS, worker_max_count=1), [table]) as child:
        client = child.connect()
        for number in range(40):
            client.ask(number + 1, plain(b"user%d" % number, b"s"))
        client.ask(100, plain(b"john", b"s"))
        assert client.line() == OK % 100
        gate.touch()
        answers = {client.line() for _ in range(40)}
    ok = b"OK\t%d\tuser=user%d\tproxy\thost=host%d\thostip=10.0.0.7\tpass=s"
    assert answers == {ok % (number + 1, number, number % 20) for number in range(40)}
    assert sorted(asked.read_text().split()) == sorted(f"host{number}" for number in range(20))
