"""What clients do wrong, or on purpose, around TLS; the rows are those of the fault table."""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.harness.proxy import HOST
from tests.harness.raw_client import RawClient, plain
from tests.harness.scripted_backend import Peer, ScriptedBackend, imap_echo, pop3_echo
from tests.harness.tls import Authority
from tests.tls.tls_proxy import NAME, TlsProxy, wrap

AFAR = "127.0.0.7"
VICTIM = b"victim"
DEADLINE_S = 3
UPGRADE = {"imap": b"a1 STARTTLS\r\n", "pop3": b"STLS\r\n"}
SAID_YES = {"imap": b"a1 OK", "pop3": b"+OK"}
PING = {"imap": (b"z9 NOOP\r\n", b"z9 OK"), "pop3": (b"CAPA\r\n", b"+OK")}
PROTOCOLS = ["imap", "pop3"]


@pytest.fixture(scope="module")
def backends() -> Iterator[tuple[ScriptedBackend, ScriptedBackend]]:
    """Where guest is, over IMAP and POP3."""
    with ScriptedBackend(imap_echo) as imap, ScriptedBackend(pop3_echo) as pop3:
        yield imap, pop3
        imap.check()
        pop3.check()


MODES = {"shared": "no", "per-connection": "yes"}


@pytest.fixture(scope="module", params=MODES)
def shared(
    request: pytest.FixtureRequest,
    authority: Authority,
    backends: tuple[ScriptedBackend, ScriptedBackend],
) -> Iterator[TlsProxy]:
    """One proxy for all rows that only a client suffers from; it runs to the end in the same processes."""
    with TlsProxy(authority) as proxy:
        proxy.add("guest", f"host={HOST} port={backends[0].port}", "Guest-Secret-33")
        proxy.add("guest3", f"host={HOST} port={backends[1].port}", "Guest-Secret-33")
        other = authority.issue("other.example.org", "*.many.example.org", file="sni")
        names = f"local_name other.example.org *.many.example.org {{\n{other.settings()}}}\n"
        mode = f"login_process_per_connection = {MODES[request.param]}\n"
        proxy.begin(f"login_timeout = {DEADLINE_S}\n{mode}{names}")
        yield proxy


@pytest.fixture(autouse=True)
def _nobody_dies(shared: TlsProxy) -> Iterator[None]:
    """The same processes before and after, no lookup for the victim, and a good login."""
    before = lasting(shared)
    yield
    assert lasting(shared) == before
    assert VICTIM.decode() not in shared.log_text()
    with shared.secure() as client:
        assert client.ask(b"a1 LOGIN guest Guest-Secret-33\r\n").startswith(b"a1 OK")
    with shared.secure("pop3") as client:
        assert client.ask(b"USER guest3\r\n").startswith(b"+OK")
        assert client.ask(b"PASS Guest-Secret-33\r\n").startswith(b"+OK")


def is_per_connection(proxy: TlsProxy) -> bool:
    """Tell whether each client has a process of his own."""
    return "login_process_per_connection = yes" in proxy.configuration.read_text()


def lasting(proxy: TlsProxy) -> set[int]:
    """Return the processes that no client's coming or going should change."""
    if is_per_connection(proxy):
        return {proxy.pid, *(process.pid for process in proxy.children("auth"))}
    return {process.pid for process in proxy.processes()}


def begin_tls(proxy: TlsProxy, client: RawClient, protocol: str) -> None:
    """Ask for TLS and shake hands."""
    assert client.ask(UPGRADE[protocol]).startswith(SAID_YES[protocol])
    wrap(client, proxy.context())


def skip_list(client: RawClient) -> list[bytes]:
    """Take a POP3 list up to its dot."""
    lines = []
    while (line := client.line()) != b".":
        lines.append(line)
    return lines


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("what", ["capability", "login"])
def test_commands_behind_starttls_never_come_to_anything(shared: TlsProxy, protocol: str, what: str) -> None:
    """T01, T02: what came in the same segment gets no answer within TLS, and asks nobody."""
    behind = {
        ("imap", "capability"): b"a2 CAPABILITY\r\n",
        ("imap", "login"): b"a2 LOGIN victim secret\r\n",
        ("pop3", "capability"): b"CAPA\r\n",
        ("pop3", "login"): b"USER victim\r\nPASS secret\r\n",
    }[protocol, what]
    with shared.plain(protocol) as client:
        assert client.ask(UPGRADE[protocol] + behind).startswith(SAID_YES[protocol])
        wrap(client, shared.context())
        assert client.is_silent(0.2)
        ping, pong = PING[protocol]
        assert client.ask(ping).startswith(pong)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_commands_between_the_answer_and_tls_end_the_connection(shared: TlsProxy, protocol: str) -> None:
    """T01: a segment of its own, before the handshake."""
    with shared.plain(protocol) as client:
        assert client.ask(UPGRADE[protocol]).startswith(SAID_YES[protocol])
        client.send(b"a2 LOGIN victim secret\r\n" if protocol == "imap" else b"USER victim\r\nPASS x\r\n")
        rest = client.rest()
        assert b"a2" not in rest, rest
        assert b"+OK" not in rest, rest
        assert b"-ERR" not in rest, rest


def test_a_user_named_in_the_clear_is_forgotten(shared: TlsProxy) -> None:
    """T03: USER before STLS."""
    with shared.plain("pop3") as client:
        assert client.ask(b"USER victim\r\n").startswith(b"+OK")
        begin_tls(shared, client, "pop3")
        assert client.ask(b"PASS secret\r\n").startswith(b"-ERR")


def test_no_tls_within_an_exchange(shared: TlsProxy) -> None:
    """T03: STARTTLS as the answer to a challenge is an answer."""
    with shared.plain() as client:
        assert client.ask(b"a1 AUTHENTICATE PLAIN\r\n").startswith(b"+")
        assert client.ask(b"a2 STARTTLS\r\n").startswith(b"a1 BAD")
        assert client.ask(b"a3 NOOP\r\n").startswith(b"a3 OK")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("at_once", [True, False], ids=["tls-port", "starttls"])
@pytest.mark.parametrize("drips", [False, True], ids=["stops", "drips"])
def test_a_handshake_has_the_deadline_of_the_connection(
    shared: TlsProxy, protocol: str, at_once: bool, drips: bool
) -> None:
    """T04: five bytes, or one at a time; nothing is said in the clear at the end."""
    begin = time.monotonic()
    with RawClient(shared.port(protocol, at_once), greet=not at_once) as client:
        if not at_once:
            assert client.ask(UPGRADE[protocol]).startswith(SAID_YES[protocol])
        client.send(b"\x16\x03\x01\x02\x00")
        while drips and time.monotonic() < begin + DEADLINE_S - 0.5:
            client.send(b"\x01")
            assert client.is_silent(0.3)
        rest = client.rest()
    assert not re.search(rb"BYE|ERR|[a-z]{4}", rest), rest
    assert DEADLINE_S - 1 <= time.monotonic() - begin <= DEADLINE_S + 1.5


def test_plaintext_at_the_tls_port_is_never_a_command(shared: TlsProxy) -> None:
    """T06: 2000 who send a login in the clear and are gone, or 200 processes; CVE-2023-40217."""
    for number in range(200 if is_per_connection(shared) else 2000):
        address = (HOST, shared.imaps_port)
        with contextlib.suppress(OSError), socket.create_connection(address) as client:
            client.sendall(b"a LOGIN victim secret\r\n")
            if number % 2:
                client.shutdown(socket.SHUT_RDWR)
    with RawClient(shared.imaps_port, greet=False) as last:
        last.send(b"a LOGIN victim secret\r\n")
        assert b"a " not in last.rest()


def test_random_names_leave_nothing_behind(shared: TlsProxy) -> None:
    """T07: 1000 names that no section has, and some that one has; with its process all of a name goes."""
    if is_per_connection(shared):
        return
    (worker,) = shared.children("imap-login")
    seen = set()

    def greet(name: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with shared.secure(context=context, name=name) as client:
            certificate = client.tls.getpeercert(binary_form=True)
            seen.add((name.endswith(".many.example.org"), certificate))

    for number in range(200):
        greet(f"{secrets.token_hex(8)}.example.com")
        if number % 20 == 0:
            greet(f"{secrets.token_hex(8)}.many.example.org")
    before = worker.memory_info().rss
    for number in range(1000):
        greet(f"{secrets.token_hex(40)[:60]}.{secrets.token_hex(30)}.example.com")
        if number % 20 == 0:
            greet(f"{secrets.token_hex(8)}.many.example.org")
    grown = worker.memory_info().rss - before
    assert grown < 1 << 20, f"{grown >> 10} KiB"
    assert len(seen) == 2
    assert {is_ours for is_ours, _ in seen} == {True, False}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_password_in_the_clear(shared: TlsProxy, protocol: str) -> None:
    """T08: nothing is offered that shows a password, and nobody is looked up; within TLS all is there."""
    with shared.plain(protocol, source=AFAR) as client:
        if protocol == "imap":
            line = client.ask(b"a0 CAPABILITY\r\n")
            assert b" LOGINDISABLED" in line
            assert b" STARTTLS" in line
            assert b"AUTH=" not in line
            assert client.line().startswith(b"a0 OK")
            assert client.ask(b"a2 LOGIN victim secret\r\n").startswith(b"* BAD [ALERT]")
            assert client.line().startswith(b"a2 NO [PRIVACYREQUIRED]")
            client.send(b"a3 AUTHENTICATE PLAIN %s\r\n" % plain(VICTIM, b"secret"))
            replies = [client.line()]
            if replies[0].startswith(b"*"):
                replies.append(client.line())
            assert replies[-1].startswith(b"a3 NO"), replies
        else:
            assert client.ask(b"CAPA\r\n").startswith(b"+OK")
            lines = skip_list(client)
            assert b"STLS" in lines
            assert b"USER" not in lines
            assert b"SASL" in lines  # and no mechanism behind it
            assert client.ask(b"USER victim\r\n").startswith(b"-ERR")
            assert client.ask(b"AUTH PLAIN %s\r\n" % plain(VICTIM, b"secret")).startswith(b"-ERR")
        begin_tls(shared, client, protocol)
        if protocol == "imap":
            line = client.ask(b"a4 CAPABILITY\r\n")
            assert b"LOGINDISABLED" not in line
            assert b"STARTTLS" not in line
            assert b" AUTH=PLAIN" in line
            assert client.line().startswith(b"a4 OK")
            assert client.ask(b"a5 LOGIN guest Guest-Secret-33\r\n").startswith(b"a5 OK")
        else:
            assert client.ask(b"CAPA\r\n").startswith(b"+OK")
            lines = skip_list(client)
            assert b"USER" in lines
            assert b"STLS" not in lines
            assert b"SASL PLAIN LOGIN" in lines
            assert client.ask(b"USER guest3\r\n").startswith(b"+OK")
            assert client.ask(b"PASS Guest-Secret-33\r\n").startswith(b"+OK")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tls_once_and_without_arguments(shared: TlsProxy, protocol: str) -> None:
    """T09: the session goes on."""
    no = b"BAD" if protocol == "imap" else b"-ERR"
    ping, pong = PING[protocol]
    with shared.plain(protocol) as client:
        odd = UPGRADE[protocol].replace(b"\r\n", b" now\r\n")
        assert no in client.ask(odd)
        begin_tls(shared, client, protocol)
        assert no in client.ask(UPGRADE[protocol])
        assert client.ask(ping).startswith(pong)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_of_another_protocol_is_sent_away(shared: TlsProxy, protocol: str) -> None:
    """T10: ALPN; its absence is fine, as is the right one among others."""
    port = str(shared.port(protocol, has_tls=True))
    found = s_client("-connect", f"{HOST}:{port}", "-alpn", "http/1.1")
    assert "no application protocol" in found, found
    for offer in (protocol, f"h2,{protocol}"):
        found = s_client("-connect", f"{HOST}:{port}", "-alpn", offer)
        assert f"ALPN protocol: {protocol}" in found, found
    assert "Verification: OK" in s_client(
        "-connect", f"{HOST}:{port}", "-CAfile", str(shared.authority.ca), "-verify_hostname", NAME
    )


def s_client(*arguments: str) -> str:
    """Run openssl's client with nothing to say; returns all that it printed."""
    done = subprocess.run(
        ["openssl", "s_client", "-no_ign_eof", *arguments],
        input=b"",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=20,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("at_once", [True, False], ids=["tls-port", "starttls"])
def test_old_versions_are_refused(shared: TlsProxy, protocol: str, at_once: bool) -> None:
    """T11: 1.2 is the floor on both ways in."""
    how = [] if at_once else ["-starttls", protocol]
    address = f"{HOST}:{shared.port(protocol, at_once)}"
    weakest = ["-cipher", "DEFAULT:@SECLEVEL=0"]
    for version in ("tls1", "tls1_1"):
        found = s_client("-connect", address, f"-{version}", *weakest, *how)
        assert "alert protocol version" in found, found
    for version, name in (("tls1_2", "TLSv1.2"), ("tls1_3", "TLSv1.3")):
        found = s_client("-connect", address, f"-{version}", *how)
        assert f"New, {name}, Cipher is" in found, found
        assert "Compression: NONE" in found, found
    for cipher in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "eNULL", "aNULL"):
        found = s_client("-connect", address, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0", *how)
        assert "Cipher is (NONE)" in found, found


def test_no_renegotiation(shared: TlsProxy) -> None:
    """T11: a client of TLS 1.2 who wants another handshake is told no."""
    with talk(f"{HOST}:{shared.imaps_port}", "-tls1_2") as client:
        assert client.stdin is not None
        assert client.stdout is not None
        wait_for(client, b"* OK ")
        client.stdin.write(b"R\n")
        rest = client.stdout.read()
    assert b"no renegotiation" in rest, rest


def test_a_thousand_key_updates_cost_nothing_lasting(shared: TlsProxy) -> None:
    """T11: the session still answers, and memory is what it was."""
    (worker,) = shared.children("imap-login")
    with talk(f"{HOST}:{shared.imaps_port}", "-tls1_3") as client:
        assert client.stdin is not None
        wait_for(client, b"* OK ")
        client.stdin.write(b"a1 LOGIN guest Guest-Secret-33\n")
        wait_for(client, b"a1 OK")
        before = worker.memory_info().rss
        for _ in range(1000):
            client.stdin.write(b"k\n")
            wait_for(client, b"KEYUPDATE\n")
        assert worker.memory_info().rss - before < 1 << 20
        client.stdin.write(b"still there?\n")
        wait_for(client, b"still there?\r\n")


@contextlib.contextmanager
def talk(address: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run openssl's client in its talking mode, where a line with a single letter is an order."""
    command = ["openssl", "s_client", "-crlf", "-connect", address, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, bufsize=0) as client:
        try:
            yield client
        finally:
            client.kill()


def wait_for(client: subprocess.Popen[bytes], wanted: bytes) -> bytes:
    """Read until the output holds `wanted`."""
    assert client.stdout is not None
    said = b""
    while wanted not in said:
        piece = client.stdout.read(4096)
        assert piece, said
        said += piece or b""
    return said


def test_an_end_without_close_notify_loses_nothing(
    shared: TlsProxy, backends: tuple[ScriptedBackend, ScriptedBackend]
) -> None:
    """T13: every byte before it reaches the backend, which then sees the end."""
    block = secrets.token_bytes(1 << 20)

    def swallow(peer: Peer) -> None:
        peer.send(b"* OK backend\r\n")
        tag, _, _ = peer.imap_login()
        peer.send(tag + b" OK in\r\n")
        peer.until_end()

    imap = backends[0]
    imap.play(swallow)
    try:
        client = shared.secure()
        assert client.ask(b"a1 LOGIN guest Guest-Secret-33\r\n").startswith(b"a1 OK")
        client.send(block)
        client.reset()
        (peer,) = imap.wait_peers(1)
        assert bytes(peer.received).endswith(block)
    finally:
        imap.play(imap_echo)
