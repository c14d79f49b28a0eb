"""TLS to real backends: at once and by STARTTLS or STLS, verified by name, by address, or not at all."""

from __future__ import annotations

import imaplib
import poplib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from mailproxy import ctl
from tests.harness.dovecot import SEEDED, DovecotBackend
from tests.harness.folder import open_folder
from tests.harness.mail_client import imap, leave, pop3
from tests.harness.proxy import Proxy
from tests.harness.scripted_backend import Peer, ScriptedBackend
from tests.harness.tls import Authority
from tests.harness.wait import wait_until

NAME = "mail.example.org"
OTHER = "other.example.org"
USER, PASSWORD = "tess", "Tess-Secret-44"
HEAD = """\
login_process_per_connection = no
login_processes_count = 1
auth_verbose = yes
{settings}
auth default {{
  mechanisms = plain
  user = nobody
  userdb static {{
    args = uid=0 gid=0
  }}
  passdb static {{
    args = nopassword=y proxy=y nodelay=y {fields}
  }}
}}
"""
PROTOCOLS = ["imap", "pop3"]
# Looks at the files all the time.
HASTY = (
    "import sys; from mailproxy import cli; from mailproxy.process import certificate_watch as watch;"
    " watch._WATCH_S = 0.1;"
    " sys.exit(cli.main())"
)
FAILED = {
    "imap": "[UNAVAILABLE] Temporary authentication failure.",
    "pop3": "-ERR [SYS/TEMP] Temporary authentication failure.",
}


@pytest.fixture(scope="module")
def authority() -> Iterator[Authority]:
    with open_folder("authority") as folder:
        yield Authority(folder)


@pytest.fixture(scope="module")
def backend(authority: Authority) -> Iterator[DovecotBackend]:
    """A Dovecot whose certificate is for NAME and its address."""
    with DovecotBackend("tls", {USER: PASSWORD}, lambda host: authority.issue(NAME, host)) as running:
        yield running


Start = Callable[..., Proxy]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return what starts a proxy whose every user has these fields."""
    with Proxy([PASSWORD]) as proxy:

        def run(fields: str, ca_file: Path | None, more: str = "", program: str = "") -> Proxy:
            proxy.program = ["-c", program] if program else proxy.program
            settings = f"ssl_client_ca_file = {ca_file}\n" if ca_file else ""
            proxy.write(HEAD.format(settings=settings + more, fields=fields))
            proxy.start()
            return proxy

        yield run


def place(backend: DovecotBackend, protocol: str, tls: str, host: str) -> str:
    """Return the fields that lead to the backend; with root's rights the port is left to the default."""
    fields = f"host={host} hostip={backend.host} {tls}"
    if backend.is_root:
        return fields
    ports = {
        "imap": (backend.imaps_port, backend.imap_port),
        "pop3": (backend.pop3s_port, backend.pop3_port),
    }
    return f"{fields} port={ports[protocol][tls.startswith('starttls')]}"


def messages(proxy: Proxy, protocol: str) -> int:
    """Log in and return how many messages there are."""
    if protocol == "imap":
        box = imap(proxy)
        box.login(USER, PASSWORD)
        status, (count, *_) = box.select()
        assert (status, isinstance(count, bytes)) == ("OK", True)
        leave(box)
        return int(count or b"-1")
    drop = pop3(proxy)
    drop.user(USER)
    drop.pass_(PASSWORD)
    found = len(drop.list()[1])
    drop.quit()
    return found


def refusal(proxy: Proxy, protocol: str) -> str:
    """Fail to log in and return the reason that the client hears."""
    if protocol == "imap":
        box = imap(proxy)
        with pytest.raises(imaplib.IMAP4.error) as refused:
            box.login(USER, PASSWORD)
        leave(box)
        (said,) = refused.value.args
    else:
        drop = pop3(proxy)
        drop.user(USER)
        with pytest.raises(poplib.error_proto) as failed:
            drop.pass_(PASSWORD)
        drop.close()
        (said,) = failed.value.args
    return said.decode() if isinstance(said, bytes) else str(said)


def decides(proxy: Proxy, passes: bool) -> bool:
    """Try to log in over IMAP; return whether that went as told."""
    box = imap(proxy)
    try:
        box.login(USER, PASSWORD)
    except imaplib.IMAP4.error:
        return not passes
    finally:
        leave(box)
    return passes


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("tls", "by_address"),
    [("ssl=yes", False), ("ssl=yes", True), ("starttls=yes", False), ("starttls=yes", True)],
)
def test_a_verified_backend(
    start: Start, authority: Authority, backend: DovecotBackend, protocol: str, tls: str, by_address: bool
) -> None:
    """T15: the name of the row counts, or the address if there is no name; the backend sees TLS."""
    fields = place(backend, protocol, tls, backend.host if by_address else NAME)
    before = backend.logins(USER), backend.tls_logins(USER)
    assert messages(start(fields, authority.ca), protocol) == SEEDED
    assert (backend.logins(USER), backend.tls_logins(USER)) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("tls", ["ssl", "starttls"])
def test_a_backend_with_another_name(
    start: Start, authority: Authority, backend: DovecotBackend, protocol: str, tls: str
) -> None:
    """T15: it never hears of the user, and there is no other try; the log says why, once."""
    proxy = start(place(backend, protocol, f"{tls}=yes", OTHER), authority.ca)
    before = backend.logins(USER)
    assert refusal(proxy, protocol) == FAILED[protocol]
    why = f"the certificate is not accepted: Hostname mismatch, certificate is not valid for '{OTHER}'."
    proxy.wait_log(why)
    (line,) = (line for line in proxy.log_text().splitlines() if why in line)
    assert f"Error: {protocol}-login: proxy({USER}): " in line
    assert "reconnects" not in line
    assert backend.logins(USER) == before


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("tls", ["ssl", "starttls"])
def test_any_certificate_will_do(start: Start, backend: DovecotBackend, protocol: str, tls: str) -> None:
    """Without a CA file: still TLS, whoever answers."""
    proxy = start(place(backend, protocol, f"{tls}=any-cert", OTHER), None)
    before = backend.tls_logins(USER)
    assert messages(proxy, protocol) == SEEDED
    wait_until("the backend has logged it", lambda: backend.tls_logins(USER) == before + 1)


def test_without_a_ca_file_the_log_names_the_setting(start: Start, backend: DovecotBackend) -> None:
    proxy = start(place(backend, "imap", "ssl=yes", NAME), None)
    assert refusal(proxy, "imap") == FAILED["imap"]
    proxy.wait_log(": no certificate passes while ssl_client_ca_file is not set")


@pytest.mark.parametrize("mode", ["login_chroot = yes\n", "login_process_per_connection = yes\n"])
def test_the_ca_file_is_not_needed_where_workers_live(
    start: Start, authority: Authority, backend: DovecotBackend, mode: str
) -> None:
    """A worker opens no file, in either mode of processes."""
    proxy = start(place(backend, "imap", "ssl=yes", NAME), authority.ca, mode)
    assert messages(proxy, "imap") == SEEDED


@pytest.mark.parametrize("mode", ["yes", "no"])
@pytest.mark.parametrize("tls", ["ssl=yes", "starttls=any-cert"])
def test_a_warning_before_the_backends_certificate_ends(
    start: Start, authority: Authority, capsys: pytest.CaptureFixture[str], mode: str, tls: str
) -> None:
    """Once, however many processes see it; and a figure for the administrator."""
    pair = authority.issue(NAME, file="short", days=9.5)
    with DovecotBackend("short", {USER: PASSWORD}, lambda host: pair) as short:
        more = f"login_process_per_connection = {mode}\nlogin_processes_count = 3\n"
        proxy = start(place(short, "imap", tls, NAME), authority.ca, more)
        for _ in range(6):
            assert messages(proxy, "imap") == SEEDED
        port = short.imaps_port if tls == "ssl=yes" else short.imap_port
        backend = f"{NAME}({short.host}):{port}"
        end = pair.certificate.not_valid_after_utc.date()
        proxy.wait_log(f"Warning: imap-login: The certificate of backend {backend} ends on {end}, in 9 days")
        assert proxy.log_text().count("The certificate of backend") == 1
        assert ctl.main(["-c", str(proxy.configuration), "status"]) == 0
        assert f"certificate {backend}: 9 days left\n" in capsys.readouterr().out


IN_CLEAR: dict[str, tuple[bytes, bytes, bytes]] = {
    "imap not offered": (b"* OK [CAPABILITY IMAP4rev1] hello\r\n", b"* CAPABILITY IMAP4rev1\r\n", b""),
    "imap refused": (b"* OK hello\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS\r\n", b"NO not today"),
    "imap to ssl port": (b"", b"", b""),
    "pop3 refused": (b"+OK hello\r\n", b"", b"-ERR not today"),
    "pop3 to ssl port": (b"", b"", b""),
}


@pytest.mark.parametrize("case", IN_CLEAR)
def test_a_backend_without_tls_is_told_nothing(start: Start, authority: Authority, case: str) -> None:
    """T15: what comes instead of TLS ends the login at once; no user and no password is sent in clear."""
    protocol = case.split()[0]
    greeting, capability, reply = IN_CLEAR[case]

    def script(peer: Peer) -> None:
        if "ssl port" in case:
            peer.send(b"* OK hello\r\n" if protocol == "imap" else b"+OK hello\r\n")
            peer.until_end()
        peer.send(greeting)
        while True:
            line = peer.line()
            tag, _, command = line.partition(b" ")
            if protocol == "pop3":
                peer.send(reply + b"\r\n")
            elif command.upper().startswith(b"CAPABILITY"):
                peer.send(capability + tag + b" OK done\r\n")
            else:
                peer.send(tag + b" " + (reply or b"BAD what?") + b"\r\n")

    with ScriptedBackend(script) as hostile:
        kind = "ssl" if "ssl port" in case else "starttls"
        fields = f"host={hostile.host} port={hostile.port} {kind}=any-cert"
        proxy = start(fields, authority.ca)
        assert refusal(proxy, protocol) == FAILED[protocol]
        (peer,) = hostile.wait_peers(1)
        assert PASSWORD.encode() not in peer.received
        assert USER.encode() not in peer.received
        hostile.check()


def test_another_ca_file_is_taken_by_itself(
    start: Start, tmp_path: Path, authority: Authority, backend: DovecotBackend
) -> None:
    """No reload: the backend's authority is believed once it is in the file, and no longer than that."""
    ca_file = tmp_path / "ca.pem"
    stranger = Authority(tmp_path, "Another CA").ca.read_bytes()
    ca_file.write_bytes(stranger)
    proxy = start(place(backend, "imap", "ssl=yes", NAME), ca_file, program=HASTY)
    assert refusal(proxy, "imap") == FAILED["imap"]
    for times, (contents, passes) in enumerate([(authority.ca.read_bytes(), True), (stranger, False)], 1):
        new = ca_file.with_suffix(".new")
        new.write_bytes(contents)
        new.replace(ca_file)
        proxy.wait_log("Certificates have changed, login processes take the new ones", times)
        wait_until("a new worker decides", partial(decides, proxy, passes), 10)
