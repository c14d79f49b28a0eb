"""Cyrus IMAP and Courier as backends: every way to log in, in the clear and within TLS, and mail read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.archives import why_not
from tests.harness.courier import CourierBackend
from tests.harness.cyrus import CyrusBackend
from tests.harness.folder import open_folder
from tests.harness.raw_client import RawClient, plain
from tests.harness.real_server import RealServer
from tests.harness.tls import Authority
from tests.tls.tls_proxy import TlsProxy

JOHN, ODD = "john", "odd"
# What a quoted string must escape, what looks like a literal or a format, 8-bit text, blanks.
PASSWORDS = {JOHN: b"John-Secret-61", ODD: b'o"dd\\ {3+} %s*( \xc3\xa4\xe2\x82\xac '}
AT_PROXY = "Word-At-Proxy-52"
LINKS = {"clear": "", "starttls": "starttls=yes", "tls": "ssl=yes"}
WORDS = {"login": "", "plain": "proxy_mech=PLAIN"}
SERVERS: dict[str, type[CyrusBackend] | type[CourierBackend]] = {
    "cyrus": CyrusBackend,
    "courier": CourierBackend,
}
PROTOCOLS = ["imap", "pop3"]


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with open_folder("authority") as folder:
        yield Authority(folder)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, authority: Authority) -> Iterator[RealServer]:
    """One of the servers, with its users' mail."""
    reason = why_not(request.param)
    if reason:
        pytest.skip(reason)
    with SERVERS[request.param](PASSWORDS, authority) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: RealServer, authority: Authority) -> Iterator[TlsProxy]:
    """A proxy whose users say by their name who they are there, how they get there and in which words."""
    with TlsProxy(authority) as proxy:
        for link, tls in LINKS.items():
            for word, mechanism in WORDS.items():
                for user in PASSWORDS:
                    fields = f"host={server.host} destuser={user} {tls} {mechanism}"
                    proxy.add(f"{user}-{link}-{word}", fields)
            master = f"master={CyrusBackend.master_user} pass={CyrusBackend.master_password}"
            proxy.add(f"kept-{link}", f"host={server.host} destuser={JOHN} {tls} {master}", AT_PROXY)
        proxy.secrets |= {PASSWORDS[JOHN].decode(), CyrusBackend.master_password}
        yield proxy.begin()


def imap_literals(client: RawClient, user: str, password: bytes) -> bytes:
    """Log in by two literals that wait; return the reply."""
    name = user.encode()
    assert client.ask(b"a1 LOGIN {%d}\r\n" % len(name)).startswith(b"+")
    assert client.ask(name + b" {%d}\r\n" % len(password)).startswith(b"+")
    return client.ask(password + b"\r\n")


def imap_sasl(client: RawClient, user: str, password: bytes) -> bytes:
    return client.ask(b"a1 AUTHENTICATE PLAIN %s\r\n" % plain(user.encode(), password))


def pop3_user_pass(client: RawClient, user: str, password: bytes) -> bytes:
    assert client.ask(b"USER %s\r\n" % user.encode()) == b"+OK"
    return client.ask(b"PASS %s\r\n" % password)


def pop3_sasl(client: RawClient, user: str, password: bytes) -> bytes:
    return client.ask(b"AUTH PLAIN %s\r\n" % plain(user.encode(), password))


WAYS = {"imap": (imap_literals, imap_sasl), "pop3": (pop3_user_pass, pop3_sasl)}
WELCOME = {"imap": b"a1 OK ", "pop3": b"+OK"}


def until(client: RawClient, last: bytes) -> list[bytes]:
    """Take lines up to one that begins so."""
    lines = [client.line()]
    while not lines[-1].startswith(last):
        assert lines[-1] or len(lines) < 100, lines
        lines.append(client.line())
    return lines


def subject(client: RawClient, protocol: str) -> bytes:
    """Return the header line of the first message."""
    if protocol == "imap":
        client.send(b"a2 SELECT INBOX\r\n")
        assert b"* 2 EXISTS" in until(client, b"a2 OK")
        client.send(b"a3 FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]\r\n")
        lines = until(client, b"a3 OK")
        client.send(b"a4 LOGOUT\r\n")
    else:
        assert client.ask(b"STAT\r\n").startswith(b"+OK 2 ")
        client.send(b"RETR 1\r\n")
        lines = until(client, b".")
        client.send(b"QUIT\r\n")
    client.rest()
    return next(line for line in lines if line.startswith(b"Subject: "))


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_own_password(proxy: TlsProxy, server: RealServer, protocol: str, link: str, word: str) -> None:
    """C06, C07, C08: what is typed arrives byte for byte, whatever is in it, by every way in and on."""
    for user, password in PASSWORDS.items():
        for log_in in WAYS[protocol]:
            with proxy.plain(protocol) as client:
                reply = log_in(client, f"{user}-{link}-{word}", password)
                assert reply.startswith(WELCOME[protocol]), (reply, proxy.tail())
                assert subject(client, protocol) == b"Subject: " + server.subject(user, 1).encode()


@pytest.mark.parametrize("server", ["cyrus"], indirect=True, scope="module")
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_master_password(proxy: TlsProxy, server: RealServer, protocol: str, link: str) -> None:
    """The proxy knows the user's password, and acts for him at Cyrus; Courier has no such thing."""
    with proxy.plain(protocol) as client:
        reply = WAYS[protocol][0](client, f"kept-{link}", AT_PROXY.encode())
        assert reply.startswith(WELCOME[protocol]), (reply, proxy.tail())
        assert subject(client, protocol) == b"Subject: " + server.subject(JOHN, 1).encode()


# Courier lets whoever is wrong wait for five seconds, so POP3 is left to the other tests.
def test_wrong_password(proxy: TlsProxy) -> None:
    """B14: its own text goes to the log, ours to the client, who may try again at once."""
    user = f"{JOHN}-clear-login"
    with proxy.plain() as client:
        reply = imap_sasl(client, user, b"not-this-one")
        assert reply == b"a1 NO [AUTHENTICATIONFAILED] Authentication failed."
        proxy.wait_log(f"proxy({user}): Login failed to ")
        assert imap_sasl(client, user, PASSWORDS[JOHN]).startswith(b"a1 OK ")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_the_client_is_told(proxy: TlsProxy, server: RealServer, protocol: str) -> None:
    """After the login only the backend's own capabilities count, also those asked for behind the login."""
    with proxy.plain(protocol) as client:
        WAYS[protocol][0](client, f"{JOHN}-starttls-login", PASSWORDS[JOHN])
        if protocol == "imap":
            client.send(b"a2 CAPABILITY\r\n")
            (words, *_) = until(client, b"a2 OK")
            assert b"ACL" in words.split()
        else:
            client.send(b"CAPA\r\n")
            assert any(b"Cyrus" in line or b"UIDL" in line for line in until(client, b"."))
