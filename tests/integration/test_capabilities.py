"""What clients are told before the login, limited to what real and scripted backends can do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.dovecot import DovecotBackend
from tests.harness.folder import open_folder
from tests.harness.ports import free_port
from tests.harness.proxy import HOST, Proxy
from tests.harness.raw_client import RawClient
from tests.harness.scripted_backend import Peer, ScriptedBackend
from tests.harness.tls import Authority
from tests.harness.wait import wait_until

NAME = "mail.example.org"
PASSWORD = "Tess-Secret-44"
FULL = (
    "IMAP4rev1 SASL-IR SORT THREAD=REFERENCES MULTIAPPEND UNSELECT LITERAL+ IDLE CHILDREN NAMESPACE"
    " LOGIN-REFERRALS AUTH=PLAIN"
)
CONFIGURATION = """\
login_process_per_connection = {per_connection}
login_processes_count = 2
{settings}
auth default {{
  mechanisms = plain
  user = nobody
  userdb static {{
    args = uid=0 gid=0
  }}
  passdb passwd-file {{
    args = {users}
  }}
}}
"""


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with open_folder("authority") as folder:
        yield Authority(folder)


@pytest.fixture(scope="module")
def rich(authority: Authority) -> Iterator[DovecotBackend]:
    """A Dovecot as it comes, with TLS; tess is there."""
    with DovecotBackend("rich", {"tess": PASSWORD}, lambda host: authority.issue(NAME, host)) as running:
        yield running


@pytest.fixture(scope="module")
def poor() -> Iterator[DovecotBackend]:
    """A Dovecot that admits to little; paul is there."""
    words = "protocol imap {\n  imap_capability = IMAP4rev1 NAMESPACE\n}\n"
    with DovecotBackend("poor", {"paul": PASSWORD}, settings=words) as running:
        yield running


def start(proxy: Proxy, rows: dict[str, str], *, per_connection: str = "no", settings: str = "") -> None:
    """Start a proxy that asks its backends; every password will do."""
    users = proxy.folder / "users"
    users.write_text("".join(f"{user}:::::::proxy nopassword {row}\n" for user, row in rows.items()))
    proxy.secrets.add(PASSWORD)
    proxy.probes = True
    proxy.write(CONFIGURATION.format(per_connection=per_connection, settings=settings, users=users))
    proxy.start()


def imap_words(proxy: Proxy) -> str:
    """Return what a client hears who asks before he logs in."""
    with RawClient(proxy.imap_port) as client:
        return client.ask(b"c CAPABILITY\r\n").decode().removeprefix("* CAPABILITY ")


def pop3_words(proxy: Proxy) -> list[str]:
    with RawClient(proxy.pop3_port) as client:
        words = [client.ask(b"CAPA\r\n").decode()]
        while words[-1] != ".":
            words.append(client.line().decode())
        return words[1:-1]


def log_in(proxy: Proxy, user: str) -> tuple[bytes, bytes]:
    """Log in; return the tagged answer and what the backend says when it is asked."""
    with RawClient(proxy.imap_port) as client:
        reply = client.ask(f"a1 LOGIN {user} {PASSWORD}\r\n".encode())
        assert reply.startswith(b"a1 OK "), reply
        return reply, client.ask(b"a2 CAPABILITY\r\n")


def retrieve(proxy: Proxy, user: str) -> list[str]:
    """Log in by POP3; return what CAPA says then."""
    with RawClient(proxy.pop3_port) as client:
        assert client.ask(f"USER {user}\r\n".encode()).startswith(b"+OK")
        assert client.ask(f"PASS {PASSWORD}\r\n".encode()).startswith(b"+OK")
        words = [client.ask(b"CAPA\r\n").decode()]
        while words[-1] != ".":
            words.append(client.line().decode())
        return words[1:-1]


@pytest.mark.parametrize("per_connection", ["no", "yes"])
def test_imap_clients_are_told_what_all_backends_can_do(
    proxy: Proxy, rich: DovecotBackend, poor: DovecotBackend, per_connection: str
) -> None:
    """Ours at first, less with each backend that is used; after the login that backend's own."""
    start(proxy, {"tess": f"host={rich.host}", "paul": f"host={poor.host}"}, per_connection=per_connection)
    assert imap_words(proxy) == FULL
    _, own = log_in(proxy, "tess")
    assert b" ENABLE " in own
    wait_until(
        "the first backend limits",
        lambda: imap_words(proxy) == "IMAP4rev1 SASL-IR LITERAL+ IDLE LOGIN-REFERRALS AUTH=PLAIN",
    )
    reply, own = log_in(proxy, "paul")
    assert own == b"* CAPABILITY IMAP4rev1 NAMESPACE"
    assert b"[CAPABILITY IMAP4rev1 NAMESPACE]" in reply
    wait_until("the second too", lambda: imap_words(proxy) == "IMAP4rev1 SASL-IR LOGIN-REFERRALS AUTH=PLAIN")
    assert "LITERAL+" not in imap_words(proxy)


@pytest.mark.parametrize("way", ["ssl=yes", "starttls=yes", "ssl=any-cert"])
def test_backends_are_asked_as_their_rows_say(
    proxy: Proxy, authority: Authority, rich: DovecotBackend, way: str
) -> None:
    """Within TLS, verified by the name; IMAP and POP3."""
    start(
        proxy,
        {"tess": f"host={NAME} hostip={rich.host} {way}"},
        settings=f"ssl_client_ca_file = {authority.ca}",
    )
    log_in(proxy, "tess")
    wait_until("the backend limits", lambda: "SORT" not in imap_words(proxy))
    assert "CAPA" in retrieve(proxy, "tess")
    assert pop3_words(proxy) == ["TOP", "UIDL", "RESP-CODES", "PIPELINING", "USER", "SASL PLAIN"]
    assert "Can't learn" not in proxy.log_text()


def test_a_backend_with_a_wrong_certificate_is_not_asked(
    proxy: Proxy, authority: Authority, rich: DovecotBackend
) -> None:
    """T15: whoever it is, he does not decide what clients are told."""
    start(
        proxy,
        {"tess": f"host=other.example.org hostip={rich.host} ssl=yes"},
        settings=f"ssl_client_ca_file = {authority.ca}",
    )
    with RawClient(proxy.imap_port) as client:
        assert b"NO [UNAVAILABLE]" in client.ask(f"a1 LOGIN tess {PASSWORD}\r\n".encode())
    proxy.wait_log("Can't learn the capabilities of imap backend other.example.org: the certificate is not")
    assert imap_words(proxy) == FULL


def pop3_backend(capa: bytes) -> ScriptedBackend:
    """Return a backend that answers CAPA so, before the login and after it."""

    def script(peer: Peer) -> None:
        peer.send(b"+OK backend\r\n")
        while (line := peer.line()) != b"QUIT\r\n":
            peer.send(capa if line == b"CAPA\r\n" else b"+OK\r\n")
        peer.send(b"+OK\r\n")

    return ScriptedBackend(script)


@pytest.mark.parametrize(
    ("capa", "words"),
    [
        (b"+OK\r\nUIDL\r\nEXPIRE 60\r\nuser\r\npipelining\r\n.\r\n", ["UIDL", "PIPELINING"]),
        (b"+OK\r\n.\r\n", []),
        (b"-ERR what?\r\n", ["TOP", "UIDL", "RESP-CODES", "PIPELINING"]),
    ],
    ids=["some", "none", "unknown"],
)
def test_pop3_clients_are_told_what_all_backends_can_do(proxy: Proxy, capa: bytes, words: list[str]) -> None:
    """One that does not know CAPA has said nothing, and does not limit."""
    with pop3_backend(capa) as backend:
        start(proxy, {"paul": f"host={HOST} port={backend.port}"})
        assert pop3_words(proxy) == ["TOP", "UIDL", "RESP-CODES", "PIPELINING", "USER", "SASL PLAIN"]
        with RawClient(proxy.pop3_port) as client:
            client.send(f"USER paul\r\nPASS {PASSWORD}\r\n".encode())
            assert client.lines(2) == [b"+OK", b"+OK"]
        wait_until(
            "it was asked", lambda: any(b"CAPA\r\nQUIT\r\n" in peer.received for peer in backend.peers)
        )
        wait_until("clients are told", lambda: pop3_words(proxy) == [*words, "USER", "SASL PLAIN"])
        backend.check()


def test_a_backend_that_is_down_limits_nobody(proxy: Proxy) -> None:
    """It is said once, and logins are refused as ever."""
    start(proxy, {"paul": f"host={HOST} port={free_port()}"}, settings="login_proxy_max_reconnects = 0")
    with RawClient(proxy.imap_port) as client:
        for tag in (b"a1", b"a2"):
            assert client.ask(b"%s LOGIN paul x\r\n" % tag).startswith(tag + b" NO [UNAVAILABLE]")
    proxy.wait_log(f"Can't learn the capabilities of imap backend {HOST}: Connection refused")
    assert proxy.log_text().count("Can't learn") == 1
    assert imap_words(proxy) == FULL


def test_the_setting_has_the_last_word(proxy: Proxy, poor: DovecotBackend) -> None:
    """`imap_capability`: nobody is asked, and clients are told just this."""
    start(
        proxy,
        {"paul": f"host={poor.host}"},
        settings="protocol imap {\n  imap_capability = IMAP4rev1 IDLE\n}",
    )
    before = poor.log.read_text().count("Aborted login")
    log_in(proxy, "paul")
    retrieve(proxy, "paul")
    wait_until("POP3 is asked", lambda: poor.log.read_text().count("Aborted login") == before + 1)
    assert imap_words(proxy) == "IMAP4rev1 IDLE AUTH=PLAIN"
    assert "imap-login: Info: Aborted login" not in poor.log.read_text()[-600:]
