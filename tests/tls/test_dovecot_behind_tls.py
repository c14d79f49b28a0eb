"""A real Dovecot behind TLS, which logs for whom the proxy speaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.dovecot import DovecotBackend
from tests.harness.raw_client import RawClient
from tests.harness.tls import Authority
from tests.harness.wait import wait_until
from tests.tls.conftest import JOHN, JOHN_WORD
from tests.tls.tls_proxy import TlsProxy

WAYS = ["ssl=yes", "starttls=yes", "ssl=any-cert", "starttls=any-cert"]
CLIENT = "127.0.0.7"
HOST_FIELDS = "host=imap.example.org hostip={}"


def login(client: RawClient, protocol: str, user: str = JOHN, word: str = JOHN_WORD) -> bytes:
    """Log in and return the answer."""
    if protocol == "imap":
        return client.ask(f"a1 LOGIN {user} {word}\r\n".encode())
    assert client.ask(f"USER {user}\r\n".encode()).startswith(b"+OK")
    return client.ask(f"PASS {word}\r\n".encode())


def is_ok(reply: bytes) -> bool:
    return reply.startswith((b"a1 OK ", b"+OK"))


def proof_of_mailbox(client: RawClient, protocol: str, dovecot: DovecotBackend) -> None:
    """Read a subject that is on this server alone."""
    if protocol == "imap":
        client.send(b"a2 SELECT INBOX\r\n")
        while not client.line().startswith(b"a2 OK"):
            pass
        client.send(b"a3 FETCH 1 BODY[HEADER.FIELDS (SUBJECT)]\r\n")
    else:
        client.send(b"TOP 1 0\r\n")
    subject = dovecot.subject(JOHN, 1).encode()
    lines: list[bytes] = []
    while not lines or subject not in lines[-1]:
        lines.append(client.line())
        assert lines[-1] or len(lines) < 40, lines


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("way", WAYS)
def test_login_through_tls_on_both_sides(
    proxy: TlsProxy, dovecot: DovecotBackend, protocol: str, way: str
) -> None:
    """The backend is shown the client's own address, and says that the connection has TLS."""
    proxy.add(JOHN, f"{HOST_FIELDS.format(dovecot.host)} {way}")
    proxy.begin("login_log_format_elements = user=<%u> rip=%r session=<%{session}>")
    offset = len(dovecot.log.read_text())
    with proxy.secure(protocol, source=CLIENT) as client:
        reply = login(client, protocol)
        assert is_ok(reply), reply
        proof_of_mailbox(client, protocol, dovecot)
    line = wait_line(dovecot, offset, f"Login: user=<{JOHN}>", f"rip={CLIENT}", "TLS")
    proxy.wait_log(f"user=<{JOHN}>")
    (ours,) = [line for line in proxy.log_text().splitlines() if f"user=<{JOHN}>" in line]
    session = ours.partition("session=<")[2].partition(">")[0]
    assert session
    assert f"session=<{session}>" in line, (line, ours)


def wait_line(dovecot: DovecotBackend, offset: int, *marks: str) -> str:
    """Wait for one line with all these marks in Dovecot's log behind `offset`."""

    def logged() -> list[str]:
        lines = dovecot.log.read_text()[offset:].splitlines()
        return [line for line in lines if all(mark in line for mark in marks)]

    (line,) = wait_until(f"Dovecot logs {marks}", logged)
    return line


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("way", ["ssl=yes", "starttls=yes"])
def test_certificate_for_another_name_is_refused(
    proxy: TlsProxy, dovecot: DovecotBackend, protocol: str, way: str
) -> None:
    """T15: no password is sent, the log says why; with any-cert the same server will do."""
    proxy.add(JOHN, f"host=other.example.org hostip={dovecot.host} {way}")
    proxy.add("jane", f"host=other.example.org hostip={dovecot.host} {way[:-3]}any-cert destuser={JOHN}")
    proxy.begin()
    before = dovecot.logins(JOHN)
    with proxy.secure(protocol) as client:
        reply = login(client, protocol)
        assert reply.startswith((b"a1 NO [UNAVAILABLE] ", b"-ERR [SYS/TEMP] ")), reply
        proxy.wait_log("other.example.org")
        proxy.wait_log("the certificate is not accepted: Hostname mismatch")
        assert dovecot.logins(JOHN) == before
        assert is_ok(login(client, protocol, "jane"))
    wait_until("Dovecot has the other login", lambda: dovecot.logins(JOHN) == before + 1)


@pytest.mark.parametrize("way", ["ssl=yes", "starttls=yes"])
def test_certificate_of_a_stranger_is_refused(
    proxy: TlsProxy, dovecot: DovecotBackend, tmp_path: Path, way: str
) -> None:
    """T15: the right name, signed by nobody whom `ssl_client_ca_file` names."""
    proxy.add(JOHN, f"{HOST_FIELDS.format(dovecot.host)} {way}")
    other = Authority(tmp_path, "Other CA")
    proxy.begin(f"ssl_client_ca_file = {other.ca}")
    before = dovecot.logins(JOHN)
    with proxy.secure() as client:
        reply = login(client, "imap")
        assert reply.startswith(b"a1 NO [UNAVAILABLE] "), reply
    proxy.wait_log("the certificate is not accepted: unable to get local issuer certificate")
    assert dovecot.logins(JOHN) == before


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_master_login_by_sasl(proxy: TlsProxy, dovecot: DovecotBackend, protocol: str) -> None:
    """The proxy checks John's own password, and proves itself at the backend as its master user."""
    master = f"master={dovecot.master_user} pass={dovecot.master_password}"
    proxy.add(JOHN, f"{HOST_FIELDS.format(dovecot.host)} ssl=yes {master}", "Another-Word-7")
    proxy.secrets.add(dovecot.master_password)
    proxy.begin()
    offset = len(dovecot.log.read_text())
    with proxy.secure(protocol, source=CLIENT) as client:
        assert login(client, protocol).startswith((b"a1 NO [AUTHENTICATIONFAILED]", b"-ERR [AUTH]"))
        reply = login(client, protocol, word="Another-Word-7")
        assert is_ok(reply), reply
        proof_of_mailbox(client, protocol, dovecot)
    wait_line(dovecot, offset, f"Login: user=<{JOHN}>", "method=PLAIN", f"rip={CLIENT}")


def test_a_client_that_is_a_proxy_too(proxy: TlsProxy, dovecot: DovecotBackend) -> None:
    """Two hops: who is trusted speaks for a client and names the session, an other one does not."""
    proxy.add(JOHN, f"{HOST_FIELDS.format(dovecot.host)} starttls=yes")
    proxy.begin("login_trusted_networks = 127.0.0.8\nimap_id_log = *")
    claim = b'a0 ID ("x-originating-ip" "192.0.2.99" "x-session-id" "HOP-%d" "x-proxy-ttl" "4")\r\n'
    for number, (source, rip) in enumerate((("127.0.0.8", "192.0.2.99"), ("127.0.0.9", "127.0.0.9"))):
        offset = len(dovecot.log.read_text())
        with proxy.secure(source=source) as client:
            client.send(claim % number)
            while not client.line().startswith(b"a0 OK"):
                pass
            assert is_ok(login(client, "imap"))
        line = wait_line(dovecot, offset, f"Login: user=<{JOHN}>", f"rip={rip}")
        assert (f"session=<HOP-{number}>" in line) == (source == "127.0.0.8"), line


def test_nothing_is_told_about_the_client_where_the_row_says_so(
    proxy: TlsProxy, dovecot: DovecotBackend
) -> None:
    """`proxy_not_trusted`."""
    proxy.add(JOHN, f"{HOST_FIELDS.format(dovecot.host)} ssl=yes proxy_not_trusted=y")
    proxy.begin()
    offset = len(dovecot.log.read_text())
    with proxy.secure(source=CLIENT) as client:
        assert is_ok(login(client, "imap"))
    wait_line(dovecot, offset, f"Login: user=<{JOHN}>", "rip=127.0.0.1,")


def test_source_addresses_are_seen_by_the_backend(proxy: TlsProxy, dovecot: DovecotBackend) -> None:
    """`login_source_ips` in turn, which Dovecot does not trust; one that is not ours is left out by `?`."""
    proxy.add(JOHN, f"{HOST_FIELDS.format(dovecot.host)} ssl=yes")
    proxy.begin("login_source_ips = ?127.0.0.31 192.0.2.200 127.0.0.32")
    offset = len(dovecot.log.read_text())
    for _ in range(4):
        with proxy.secure() as client:
            reply = login(client, "imap")
            assert is_ok(reply), reply

    def seen() -> list[str]:
        lines = dovecot.log.read_text()[offset:].splitlines()
        return [line.partition("rip=")[2].partition(",")[0] for line in lines if "Login: user=" in line]

    wait_until("four logins are logged", lambda: len(seen()) == 4)
    assert sorted(seen()) == ["127.0.0.31"] * 2 + ["127.0.0.32"] * 2


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_the_next_server_is_taken_when_the_first_is_down(
    proxy: TlsProxy, dovecot: DovecotBackend, protocol: str
) -> None:
    """A list in `host`: nobody listens at the first address; the certificate is not for addresses."""
    proxy.add(JOHN, f"host=127.77.250.250,{dovecot.host} ssl=any-cert")
    proxy.add("jane", f"host=127.77.250.250,{dovecot.host} ssl=yes destuser={JOHN}")
    proxy.begin()
    with proxy.secure(protocol) as client:
        reply = login(client, protocol)
        assert is_ok(reply), reply
        proof_of_mailbox(client, protocol, dovecot)
    proxy.wait_log(
        f"connect(127.77.250.250, {993 if protocol == 'imap' else 995}) failed: Connection refused"
    )
    with proxy.secure(protocol) as client:
        assert not is_ok(login(client, protocol, "jane"))
