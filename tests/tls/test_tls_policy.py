"""Who may log in how: settings about TLS, and certificates of clients."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.harness.proxy import HOST
from tests.harness.scripted_backend import ScriptedBackend, imap_echo
from tests.harness.tls import Authority
from tests.tls.tls_proxy import TlsProxy, wrap

AFAR = "127.0.0.7"
WORD = "Guest-Secret-33"


@pytest.fixture
def ready(proxy: TlsProxy) -> Iterator[TlsProxy]:
    """A proxy with guest and jane, not started."""
    with ScriptedBackend(imap_echo) as backend:
        for user in ("guest", "jane"):
            proxy.add(user, f"host={HOST} port={backend.port}", WORD)
        yield proxy
        backend.check()


LOGIN = f"a1 LOGIN guest {WORD}\r\n".encode()
# settings, source of the client, whether he may log in in the clear
MATRIX = [
    ("disable_plaintext_auth = yes", HOST, True),
    ("disable_plaintext_auth = yes", AFAR, False),
    ("disable_plaintext_auth = no", AFAR, True),
    ("ssl = required\ndisable_plaintext_auth = no", HOST, False),
    ("ssl = required\ndisable_plaintext_auth = no", AFAR, False),
    ("ssl = required\ndisable_plaintext_auth = yes", HOST, False),
]


@pytest.mark.parametrize(("settings", "source", "allowed"), MATRIX)
def test_logins_in_the_clear(ready: TlsProxy, settings: str, source: str, allowed: bool) -> None:
    """T08: what is announced is what is done; the same client may log in within TLS."""
    ready.begin(settings)
    with ready.plain(source=source) as client:
        capability = client.ask(b"a0 CAPABILITY\r\n").split()
        assert client.line().startswith(b"a0 OK")
        assert (b"LOGINDISABLED" in capability) is not allowed
        assert (b"AUTH=PLAIN" in capability) is allowed
        assert b"STARTTLS" in capability
        client.send(LOGIN)
        while not (reply := client.line()).startswith(b"a1 "):
            assert reply.startswith(b"*"), reply
        assert reply.startswith(b"a1 OK" if allowed else b"a1 NO [PRIVACYREQUIRED]"), reply
    with ready.plain(source=source) as client:
        assert client.ask(b"a0 STARTTLS\r\n").startswith(b"a0 OK")
        wrap(client, ready.context())
        capability = client.ask(b"a0 CAPABILITY\r\n").split()
        assert client.line().startswith(b"a0 OK")
        assert b"LOGINDISABLED" not in capability
        assert b"AUTH=PLAIN" in capability
        assert client.ask(LOGIN).startswith(b"a1 OK")


def context_with(proxy: TlsProxy, authority: Authority, name: str) -> ssl.SSLContext:
    """Return a client that shows a certificate."""
    pair = authority.issue(file=f"client-{name}", common_name=name)
    context = proxy.context()
    context.load_cert_chain(pair.cert, pair.key)
    return context


def test_a_certificate_is_required(ready: TlsProxy, authority: Authority) -> None:
    """With one he may log in as anybody; without one as nobody, whatever the password."""
    ready.begin(f"ssl_ca_file = {authority.ca}", "  ssl_require_client_cert = yes")
    with ready.secure(context=context_with(ready, authority, "jane")) as client:
        assert client.ask(LOGIN).startswith(b"a1 OK")
    with ready.secure() as client:
        reply = client.ask(LOGIN)
        assert reply == b"a1 NO [ALERT] Client didn't present valid SSL certificate", reply
    with ready.plain() as client:
        assert client.ask(LOGIN).startswith(b"a1 NO")


def test_the_certificate_says_who(ready: TlsProxy, authority: Authority) -> None:
    """Whatever name he types."""
    ready.begin(f"ssl_ca_file = {authority.ca}", "  ssl_username_from_cert = yes")
    with ready.secure(context=context_with(ready, authority, "jane")) as client:
        assert client.ask(LOGIN).startswith(b"a1 OK")
    ready.wait_log("user=<jane>")
    assert "user=<guest>" not in ready.log_text()


def test_a_strangers_certificate_ends_the_connection(ready: TlsProxy, authority: Authority) -> None:
    """Signed by nobody whom `ssl_ca_file` names."""
    ready.begin(f"ssl_ca_file = {authority.ca}\nssl_verify_client_cert = yes")
    stranger = Authority(ready.folder, "Stranger")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ready.secure(context=context_with(ready, stranger, "jane"))
    ready.wait_log("TLS handshake failed: ")
    with ready.secure() as client:
        assert client.ask(LOGIN).startswith(b"a1 OK")
