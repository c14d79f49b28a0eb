"""Backends that get TLS wrong, or pretend to: nothing secret is ever sent to them."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator

import pytest

from tests.harness.proxy import HOST
from tests.harness.scripted_backend import Gone, Peer, Script, ScriptedBackend
from tests.harness.tls import Authority, Pair
from tests.harness.wait import wait_until
from tests.tls.tls_proxy import TlsProxy

WORD = "Guest-Secret-33"
NAME = "imap.example.org"


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """The right certificate."""
    return authority.issue(NAME, file="scripted")


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    """A backend whose script the test gives."""
    with ScriptedBackend(Peer.until_end) as found:
        yield found
        found.check()


def try_login(proxy: TlsProxy, protocol: str = "imap", user: str = "guest") -> bytes:
    """Log in and return the answer."""
    with proxy.secure(protocol) as client:
        if protocol == "imap":
            return client.ask(f"a1 LOGIN {user} {WORD}\r\n".encode())
        assert client.ask(f"USER {user}\r\n".encode()).startswith(b"+OK")
        return client.ask(f"PASS {WORD}\r\n".encode())


def is_temporary(reply: bytes) -> bool:
    return reply.startswith((b"a1 NO [UNAVAILABLE] ", b"-ERR [SYS/TEMP] "))


def says(*lines: bytes) -> Script:
    """Send each text after a line of the proxy, the first at once; then only record."""

    def play(peer: Peer) -> None:
        for number, line in enumerate(lines):
            tag = peer.line().split(b" ")[0] if number else b""
            peer.send(line.replace(b"TAG", tag))
        peer.until_end()

    return play


BAD = {
    "imap": {
        "answers before the question": says(b"* OK hi\r\nS OK\r\nL OK\r\n"),
        "guessed tags": says(b"* OK hi\r\n", b"S OK go\r\nL OK in\r\n"),
        "behind the OK": says(b"* OK hi\r\n", b"TAG OK go\r\n* CAPABILITY IMAP4rev1\r\n"),
        "not offered": says(b"* OK [CAPABILITY IMAP4rev1] hi\r\n"),
        "NO": says(b"* OK hi\r\n", b"TAG NO not today\r\n"),
        "BAD": says(b"* OK hi\r\n", b"TAG BAD what\r\n"),
        "+": says(b"* OK hi\r\n", b"+ go on\r\n"),
        "untagged": says(b"* OK hi\r\n", b"* OK go\r\n"),
        "PREAUTH": says(b"* PREAUTH you are in\r\n"),
        "clear text instead of TLS": says(b"* OK hi\r\n", b"TAG OK go\r\n", b"* OK in the clear\r\n"),
    },
    "pop3": {
        "answers before the question": says(b"+OK hi\r\n+OK\r\n+OK\r\n"),
        "behind the OK": says(b"+OK hi\r\n", b"+OK go\r\n+OK in\r\n"),
        "-ERR": says(b"+OK hi\r\n", b"-ERR no\r\n"),
        "+": says(b"+OK hi\r\n", b"+ \r\n"),
        "clear text instead of TLS": says(b"+OK hi\r\n", b"+OK go\r\n", b"+OK in the clear\r\n"),
    },
}
CASES = [(protocol, name) for protocol, scripts in BAD.items() for name in scripts]


@pytest.fixture(scope="module", params=[("yes", "no"), ("any-cert", "yes")], ids="-".join)
def starting_tls(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[TlsProxy, str]]:
    """A proxy in each mode, and what its users have in `starttls`."""
    value, per_connection = request.param
    with TlsProxy(authority) as proxy:
        proxy.secrets.add(WORD)
        yield proxy.begin(f"login_process_per_connection = {per_connection}\n"), value


@pytest.mark.parametrize(("protocol", "name"), CASES)
def test_no_way_back_to_the_clear(
    starting_tls: tuple[TlsProxy, str], backend: ScriptedBackend, protocol: str, name: str
) -> None:
    """T14, T15: one connection, no password on the wire, a temporary failure, and it is not tried again."""
    backend.play(BAD[protocol][name])
    proxy, value = starting_tls
    user = f"guest{backend.port}"
    proxy.add(user, f"host={NAME} hostip={HOST} port={backend.port} starttls={value} proxy_timeout=3")
    reply = try_login(proxy, protocol, user)
    assert is_temporary(reply), reply
    (peer,) = backend.wait_peers(1)
    sent = bytes(peer.received)
    assert b"guest" not in sent
    assert WORD.encode() not in sent
    assert b"LOGIN" not in sent.upper()
    assert b"USER" not in sent.upper()
    proxy.wait_log(f"proxy({user}): ")
    assert any("Error: " in line for line in proxy.log_text().splitlines() if f"proxy({user}): " in line)


@pytest.mark.parametrize("value", ["yes", "any-cert"])
def test_clear_text_at_the_tls_port(proxy: TlsProxy, backend: ScriptedBackend, value: str) -> None:
    """T14: `ssl` and a backend that greets in the clear."""
    backend.play(says(b"* OK hi\r\n"))
    proxy.add("guest", f"host={NAME} hostip={HOST} port={backend.port} ssl={value} proxy_timeout=3")
    proxy.secrets.add(WORD)
    proxy.begin()
    assert is_temporary(try_login(proxy))
    (peer,) = backend.wait_peers(1)
    assert peer.received[:1] == b"\x16"
    assert WORD.encode() not in peer.received
    proxy.wait_log("TLS handshake failed")


def within_tls(pair: Pair, script: Script, before: bytes = b"", weaken: str = "") -> Script:
    """Shake hands as a server, at once or after answering STARTTLS, and go on with a script."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if weaken:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(weaken)

    def play(peer: Peer) -> None:
        if before:
            peer.send(before)
            tag = peer.line().split(b" ")[0]
            peer.send(tag + b" OK go\r\n")
        try:
            peer.socket = context.wrap_socket(peer.socket, server_side=True)
        except OSError:
            raise Gone from None
        script(peer)

    return play


@pytest.mark.parametrize("before", [b"", b"* OK hi\r\n"], ids=["ssl", "starttls"])
def test_weak_ciphers_are_refused_on_both_ways(
    proxy: TlsProxy, backend: ScriptedBackend, pair: Pair, before: bytes
) -> None:
    """T15: a backend that has nothing good to offer; any certificate would do."""
    backend.play(within_tls(pair, Peer.until_end, before, "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"))
    way = "starttls" if before else "ssl"
    proxy.add("guest", f"host={NAME} hostip={HOST} port={backend.port} {way}=any-cert proxy_timeout=3")
    proxy.secrets.add(WORD)
    proxy.begin()
    assert is_temporary(try_login(proxy))
    proxy.wait_log("TLS handshake failed")
    backend.wait_peers(1)


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_tokens_pass_through_tls(
    proxy: TlsProxy, backend: ScriptedBackend, pair: Pair, mechanism: str
) -> None:
    """The backend alone looks at the token; what it says of a bad one is in the log, not the client's."""
    token = "ya29.Token-Of-Guest"

    def check(peer: Peer) -> None:
        peer.send(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=%s] hi\r\n" % mechanism.encode())
        tag, verb, name, response = peer.line().split()
        assert (verb, name) == (b"AUTHENTICATE", mechanism.encode())
        message = base64.b64decode(response)
        if token.encode() in message:
            assert b"guest" in message
            peer.send(tag + b" OK in\r\n")
            peer.echo()
        else:
            peer.send(b"+ " + base64.b64encode(b'{"status":"401"}') + b"\r\n")
            peer.line()
            peer.send(tag + b" NO [AUTHENTICATIONFAILED] bad token\r\n")
            peer.until_end()

    backend.play(within_tls(pair, check))
    proxy.add("guest", f"host={NAME} hostip={HOST} port={backend.port} ssl=yes proxy_mech={mechanism}")
    proxy.secrets.update((token, "Wrong-Token"))
    proxy.begin(mechanisms="plain xoauth2 oauthbearer")

    def message(word: str) -> bytes:
        if mechanism == "XOAUTH2":
            return b"user=guest\x01auth=Bearer %s\x01\x01" % word.encode()
        return b"n,a=guest,\x01host=x\x01port=143\x01auth=Bearer %s\x01\x01" % word.encode()

    with proxy.secure() as client:
        verb = b"AUTHENTICATE %s " % mechanism.encode()
        reply = client.ask(b"a1 " + verb + base64.b64encode(message("Wrong-Token")) + b"\r\n")
        if reply.startswith(b"+"):
            reply = client.ask(b"\r\n")
        assert reply.startswith(b"a1 NO [AUTHENTICATIONFAILED]"), reply
        reply = client.ask(b"a2 " + verb + base64.b64encode(message(token)) + b"\r\n")
        assert reply.startswith(b"a2 OK"), reply
        assert client.ask(b"ping\r\n") == b"ping"


def test_a_name_for_a_host(proxy: TlsProxy, backend: ScriptedBackend, authority: Authority) -> None:
    """`localhost` is resolved, and its certificate has to be for that name."""
    local = authority.issue("localhost", file="localhost")

    def accept(peer: Peer) -> None:
        peer.send(b"* OK hi\r\n")
        tag, _, _ = peer.imap_login()
        peer.send(tag + b" OK in\r\n")
        peer.echo()

    backend.play(within_tls(local, accept))
    proxy.add("guest", f"host=localhost port={backend.port} ssl=yes")
    proxy.add("other", f"host=no-such-name.invalid port={backend.port} ssl=yes")
    proxy.secrets.add(WORD)
    proxy.begin()
    assert try_login(proxy).startswith(b"a1 OK")
    with proxy.secure() as client:
        reply = client.ask(f"a1 LOGIN other {WORD}\r\n".encode())
        assert reply.startswith(b"a1 NO [UNAVAILABLE]"), reply
    proxy.wait_log("no-such-name.invalid")


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_a_proxy_that_leads_to_itself(proxy: TlsProxy, protocol: str) -> None:
    """B18: own address, and through a name; no connection is made."""
    port = proxy.port(protocol, has_tls=True)
    proxy.add("guest", f"host={HOST} port={port} ssl=any-cert")
    proxy.secrets.add(WORD)
    proxy.begin()
    reply = try_login(proxy, protocol)
    assert is_temporary(reply), reply
    proxy.wait_log("proxying loops")


@pytest.mark.parametrize(
    "settings",
    ["login_trusted_networks = 127.0.0.1", "login_greeting_capability = yes\nimap_capability = IMAP4rev1 ID"],
    ids=["trust", "no trust"],
)
def test_two_proxies_in_a_ring(authority: Authority, proxy: TlsProxy, settings: str) -> None:
    """B18: one login causes no more connections than its TTL, where both trust each other or show ID."""
    with TlsProxy(authority) as other:
        for here, there in ((proxy, other), (other, proxy)):
            here.secrets.add(WORD)
            here.add("guest", f"host={HOST} port={there.imap_port}")
            here.begin(settings)
        assert is_temporary(try_login(proxy))
        end = "proxies loop: x-proxy-ttl has come to its end"
        wait_until("one of them ends it", lambda: end in proxy.log_text() + other.log_text())
        lines = [*proxy.log_text().splitlines(), *other.log_text().splitlines()]
        assert sum("method=PLAIN" in line and "Disconnected:" in line for line in lines) <= 5
