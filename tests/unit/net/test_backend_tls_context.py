"""TLS towards backends: which of them is believed."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from mailproxy.base.errors import ConfigError
from mailproxy.net.tls_context import (
    backend_contexts,
    why_refused,
)
from tests.harness.tls import Authority, Pair
from tests.unit.net.tls_peers import NAME, OTHER, Peers


def backend_peers(authority: Authority, pair: Pair, name: str, *, verify: bool, has_ca: bool = True) -> Peers:
    contexts = backend_contexts(str(authority.ca) if has_ca else "")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.cert, pair.key)
    return Peers(server, contexts.verifying if verify else contexts.trusting, name)


@pytest.mark.parametrize("name", [NAME, "192.0.2.7", "2001:db8::7", "a.example.net"])
def test_a_backend_is_verified_by_name_or_address(authority: Authority, name: str) -> None:
    """T15: by the name in the row, an address too."""
    pair = authority.issue(NAME, "192.0.2.7", "2001:db8::7", "*.example.net")
    peers = backend_peers(authority, pair, name, verify=True).shake()
    assert (peers.client.version(), peers.client.compression()) == ("TLSv1.3", None)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (OTHER, f"Hostname mismatch, certificate is not valid for '{OTHER}'."),
        ("192.0.2.8", "IP address mismatch, certificate is not valid for '192.0.2.8'."),
        ("x.mail.example.org", "Hostname mismatch, certificate is not valid for 'x.mail.example.org'."),
    ],
)
def test_a_backend_with_another_name_is_refused(authority: Authority, name: str, why: str) -> None:
    """T15: unless the row says any-cert."""
    pair = authority.issue(NAME, "192.0.2.7")
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        backend_peers(authority, pair, name, verify=True).shake()
    contexts = backend_contexts(str(authority.ca))
    assert why_refused(caught.value, contexts) == f"the certificate is not accepted: {why}"
    backend_peers(authority, pair, name, verify=False).shake()


@pytest.mark.parametrize("fault", ["stranger", "ended", "revoked", "no CA"])
def test_a_backend_that_nobody_vouches_for_is_refused(
    authority: Authority, tmp_path: Path, fault: str
) -> None:
    pair = authority.issue(NAME, days=-1 if fault == "ended" else 9)
    if fault == "stranger":
        pair = Authority(tmp_path, "Another CA").issue(NAME)
    if fault == "revoked":
        authority.ca.write_bytes(authority.ca.read_bytes() + authority.revoke(pair))
    has_ca = fault != "no CA"
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        backend_peers(authority, pair, NAME, verify=True, has_ca=has_ca).shake()
    said = why_refused(caught.value, backend_contexts(str(authority.ca) if has_ca else ""))
    words = {
        "stranger": ": unable to get local issuer certificate",
        "ended": ": certificate has expired",
        "revoked": ": certificate revoked",
        "no CA": ": no certificate passes while ssl_client_ca_file is not set",
    }
    assert said.startswith("the certificate is not accepted: ")
    assert said.endswith(words[fault])
    backend_peers(authority, pair, NAME, verify=False, has_ca=has_ca).shake()


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_backend_speaks_tls_of_today(authority: Authority, verify: bool) -> None:
    """T15: as towards clients, and no weaker where the certificate does not count."""
    contexts = backend_contexts(str(authority.ca))
    context = contexts.verifying if verify else contexts.trusting
    assert context.get_ciphers() == contexts.verifying.get_ciphers()
    assert all("GCM" in cipher["name"] or "CHACHA20" in cipher["name"] for cipher in context.get_ciphers())
    pair = authority.issue(NAME)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pair.cert, pair.key)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    assert Peers(server, context).shake().client.version() == "TLSv1.2"
    server.set_ciphers("ALL:@SECLEVEL=0")
    server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)version|unsupported protocol"):
        Peers(server, context).shake()


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        ("garbage", "it holds no certificate in PEM form, or a broken one"),
        (None, "No such file or directory"),
    ],
)
def test_a_broken_ca_file_for_backends_is_told(tmp_path: Path, contents: str | None, why: str) -> None:
    file = tmp_path / "ca.pem"
    if contents is not None:
        file.write_text(contents)
    with pytest.raises(ConfigError) as caught:
        backend_contexts(str(file))
    assert str(caught.value) == f"ssl_client_ca_file: Can't use SSL CA file {file}: {why}"
