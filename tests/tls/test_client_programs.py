"""Programs that people and scripts use, through TLS to the proxy and from there to a real Dovecot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.harness.dovecot import SEEDED, DovecotBackend
from tests.harness.proxy import HOST
from tests.tls.conftest import JOHN, JOHN_WORD
from tests.tls.tls_proxy import NAME, TlsProxy

TIMEOUT_S = 30
_MBSYNCRC = """\
IMAPAccount mail
Host {host}
Port {port}
User {user}
Pass {word}
{tls} {way}
CertificateFile {ca}

IMAPStore far
Account mail

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX

Channel mail
Far :far:
Near :near:
Create Near
SyncState *
"""


@pytest.fixture
def running(proxy: TlsProxy, dovecot: DovecotBackend) -> TlsProxy:
    """John's proxy, which takes no password in the clear."""
    proxy.add(JOHN, f"host=imap.example.org hostip={dovecot.host} starttls=yes")
    return proxy.begin("ssl = required")


def run(*command: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        command,
        input=said,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        errors="replace",
        check=False,
    )


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("at_once", [True, False], ids=["tls-port", "starttls"])
def test_curl(running: TlsProxy, dovecot: DovecotBackend, protocol: str, at_once: bool) -> None:
    """Verifies our certificate by the name; without TLS nothing is to be had."""
    scheme = protocol + ("s" if at_once else "")
    port = running.port(protocol, at_once)
    path = "INBOX;MAILINDEX=1" if protocol == "imap" else "1"
    url = f"{scheme}://{NAME}:{port}/{path}"
    common = ["curl", "-sS", "--user", f"{JOHN}:{JOHN_WORD}", "--resolve", f"{NAME}:{port}:{HOST}", url]
    trust = ["--cacert", str(running.authority.ca)]
    done = run(*common, *trust, "--ssl-reqd")
    assert done.returncode == 0, done.stdout
    assert dovecot.subject(JOHN, 1) in done.stdout
    assert run(*common, "--ssl-reqd").returncode == 60, "who does not know our authority"
    if not at_once:
        assert run(*common).returncode != 0, "who does not begin TLS"


@pytest.mark.parametrize("way", ["IMAPS", "STARTTLS"])
def test_mbsync(running: TlsProxy, dovecot: DovecotBackend, tmp_path: Path, way: str) -> None:
    """All messages come over."""
    folder = tmp_path / "mail"
    folder.mkdir()
    configuration = tmp_path / "mbsyncrc"
    port = running.port("imap", way == "IMAPS")
    for tls in ("TLSType", "SSLType"):  # renamed in isync 1.5
        configuration.write_text(
            _MBSYNCRC.format(
                host="localhost",  # it knows no addresses in certificates
                port=port,
                user=JOHN,
                word=JOHN_WORD,
                tls=tls,
                way=way,
                ca=running.authority.ca,
                folder=folder,
            )
        )
        done = run("mbsync", "-c", str(configuration), "-a")
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stdout
    found = [path for path in (folder / "INBOX").rglob("*") if path.parent.name in ("new", "cur")]
    assert len(found) == SEEDED, done.stdout
    assert any(dovecot.subject(JOHN, 1) in path.read_text() for path in found)


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("at_once", [True, False], ids=["tls-port", "starttls"])
def test_gnutls(running: TlsProxy, protocol: str, at_once: bool) -> None:
    """Another TLS library than ours."""
    port = running.port(protocol, at_once)
    how = [] if at_once else [f"--starttls-proto={protocol}"]
    done = run(
        *("gnutls-cli", "--crlf", f"--x509cafile={running.authority.ca}", f"--verify-hostname={NAME}"),
        *("-p", str(port), *how, HOST),
        said="a1 LOGOUT\n" if protocol == "imap" else "QUIT\n",
    )
    assert done.returncode == 0, done.stdout
    assert "The certificate is trusted" in done.stdout
    assert "TLS1.3" in done.stdout
    assert ("a1 OK" if protocol == "imap" else "+OK Logging out") in done.stdout, done.stdout


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
@pytest.mark.parametrize("at_once", [True, False], ids=["tls-port", "starttls"])
def test_openssl(running: TlsProxy, protocol: str, at_once: bool) -> None:
    """Logs in as an administrator does who looks what is wrong."""
    port = running.port(protocol, at_once)
    how = [] if at_once else ["-starttls", protocol]
    lines = (
        [f"a1 LOGIN {JOHN} {JOHN_WORD}", "a2 LOGOUT"]
        if protocol == "imap"
        else [f"USER {JOHN}", f"PASS {JOHN_WORD}", "QUIT"]
    )
    done = run(
        *("openssl", "s_client", "-crlf", "-quiet", "-verify_return_error", "-verify_hostname", NAME),
        *("-CAfile", str(running.authority.ca), "-connect", f"{HOST}:{port}", *how),
        said="".join(f"{line}\n" for line in lines),
    )
    assert done.returncode == 0, done.stdout
    assert ("a2 OK" if protocol == "imap" else "+OK Logged in.") in done.stdout, done.stdout


def test_the_certificate_of_another_name(running: TlsProxy) -> None:
    """So that the tests above prove something."""
    assert os.access("/usr/bin/gnutls-cli", os.X_OK)
    done = run(
        *("gnutls-cli", f"--x509cafile={running.authority.ca}", "--verify-hostname=other.example.org"),
        *("-p", str(running.imaps_port), HOST),
    )
    assert done.returncode != 0
