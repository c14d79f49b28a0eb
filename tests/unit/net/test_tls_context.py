"""TLS towards clients: contexts made of settings and files, and the end of certificates."""

from __future__ import annotations

import dataclasses
import gc
import secrets
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from mailproxy.config.settings import LocalName
from mailproxy.net import certificate
from mailproxy.net.tls_context import (
    certificate_ends,
    certificate_warnings,
    files,
    forgive_odd_names,
    server_context,
)
from tests.harness.tls import Authority
from tests.unit.net.tls_peers import NAME, OTHER, Change, Peers, client_context, of, problem


def test_a_client_is_served(authority: Authority, change: Change) -> None:
    peers = Peers(server_context(change()), client_context(authority)).shake()
    assert (peers.name(), peers.client.version()) == (NAME, "TLSv1.3")
    assert peers.client.compression() is None


@pytest.mark.parametrize(
    ("floor", "version", "is_served"),
    [
        ("TLSv1.2", ssl.TLSVersion.TLSv1_1, False),
        ("TLSv1.2", ssl.TLSVersion.TLSv1_2, True),
        ("TLSv1.3", ssl.TLSVersion.TLSv1_2, False),
        ("TLSv1.3", ssl.TLSVersion.TLSv1_3, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_the_oldest_version(
    authority: Authority, change: Change, floor: str, version: ssl.TLSVersion, is_served: bool
) -> None:
    """T11: 1.2 is the floor."""
    client = client_context(authority)
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = version
    peers = Peers(server_context(change(ssl_min_protocol=floor)), client)
    if is_served:
        assert peers.shake().client.version() == floor
    else:
        with pytest.raises(ssl.SSLError, match=r"(?i)version|unsupported protocol"):
            peers.shake()


def test_no_renegotiation_and_no_compression(change: Change) -> None:
    """T11: neither is offered."""
    options = server_context(change()).options
    assert options & ssl.OP_NO_RENEGOTIATION
    assert options & ssl.OP_NO_COMPRESSION
    assert not options & ssl.OP_NO_TICKET


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(authority: Authority, change: Change, version: ssl.TLSVersion) -> None:
    pair = authority.issue(OTHER)
    server = server_context(change(local_names=(LocalName((OTHER,), str(pair.cert), str(pair.key), ""),)))
    client = client_context(authority)
    client.maximum_version = version
    for name in (NAME, OTHER):
        first = Peers(server, client, name).shake()
        assert first.client.session is not None
        assert first.client.session.has_ticket
        second = Peers(server, client, name, first.client.session).shake()
        third = Peers(server, client, name, second.client.session).shake()
        assert second.client.session_reused
        assert third.client.session_reused, "who came back has no ticket for the next time"


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (NAME, NAME),
        (OTHER, OTHER),
        ("OTHER.Example.ORG", OTHER),
        ("a.wild.example.org", "*.wild.example.org"),
        ("A.WILD.example.org", "*.wild.example.org"),
        ("exact.wild.example.org", OTHER),
        ("a.b.wild.example.org", NAME),
        ("wild.example.org", NAME),
        ("unknown.example.org", NAME),
        ("localhost", NAME),
        (None, NAME),
    ],
)
def test_the_certificate_of_the_name(
    authority: Authority, change: Change, asked: str | None, shown: str
) -> None:
    other = authority.issue(OTHER)
    wild = authority.issue("*.wild.example.org", file="wild")
    blocks = (
        LocalName((OTHER, "exact.wild.example.org"), str(other.cert), str(other.key), ""),
        LocalName(("*.wild.example.org",), str(wild.cert), str(wild.key), ""),
    )
    client = client_context(authority)
    client.check_hostname = False
    assert Peers(server_context(change(local_names=blocks)), client, asked).shake().name() == shown


def test_nothing_is_kept_of_a_name(authority: Authority, change: Change) -> None:
    """T07: memory does not grow with the names that strangers ask for."""
    pair = authority.issue(OTHER)
    block = LocalName(("*.example.org",), str(pair.cert), str(pair.key), "")
    server, client = server_context(change(local_names=(block,))), client_context(authority)

    def ask(times: int) -> int:
        for _ in range(times):
            peers = Peers(server, client, f"{secrets.token_hex(28)}.{secrets.token_hex(28)}.example.org")
            with pytest.raises(ssl.SSLWantReadError):
                peers.client.do_handshake()
            with pytest.raises(ssl.SSLWantReadError):
                peers.server.do_handshake()
        gc.collect()
        memory: int = psutil.Process().memory_info().rss
        return memory

    before = ask(1000)
    assert ask(4000) - before < 1 << 20


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_name_that_is_not_ascii_leaves_no_traceback(
    authority: Authority, change: Change, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """T05: that handshake fails; the log does not get the library's own complaint."""
    pair = authority.issue(OTHER)
    block = LocalName((OTHER,), str(pair.cert), str(pair.key), "")
    peers = Peers(server_context(change(local_names=(block,))), client_context(authority))
    with pytest.raises(ssl.SSLWantReadError):
        peers.client.do_handshake()
    peers.to_server.write(peers.to_server.read().replace(b"mail.example", b"\xff\xfe\n\x00.example"))
    monkeypatch.setattr(sys, "unraisablehook", forgive_odd_names)
    with pytest.raises(ssl.SSLError):
        peers.server.do_handshake()
    assert capsys.readouterr().err == ""


def test_other_complaints_are_heard(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken:
        def __del__(self) -> None:
            raise RuntimeError("heard")

    monkeypatch.setattr(sys, "unraisablehook", forgive_odd_names)
    Broken()
    gc.collect()
    assert "RuntimeError: heard" in capsys.readouterr().err


def test_protocols_are_negotiated(authority: Authority, change: Change) -> None:
    """T10: a client that names no protocol is served too."""
    client = client_context(authority)
    assert Peers(server_context(change()), client).shake().client.selected_alpn_protocol() is None
    client.set_alpn_protocols(["imap"])
    assert Peers(server_context(change()), client).shake().client.selected_alpn_protocol() == "imap"
    only_pop3 = Peers(server_context(change(), ["pop3"]), client).shake()
    assert only_pop3.client.selected_alpn_protocol() is None


def test_only_good_ciphers_by_default(change: Change) -> None:
    names = [cipher["name"] for cipher in server_context(change()).get_ciphers()]
    assert names
    assert all(name.startswith(("TLS_", "ECDHE-")) for name in names)
    assert all("GCM" in name or "CHACHA20" in name for name in names)


def test_weak_ciphers_cannot_be_had(change: Change) -> None:
    wanted = "ALL:aNULL:eNULL:LOW:RC4:3DES:@SECLEVEL=0"
    names = [cipher["name"] for cipher in server_context(change(ssl_cipher_list=wanted)).get_ciphers()]
    assert "ECDHE-RSA-AES128-SHA" in names
    bad = ("NULL", "ADH", "AECDH", "RC4", "DES", "MD5", "PSK", "SRP")
    assert [name for name in names if set(name.split("-")) & set(bad)] == []
    assert problem(change(ssl_cipher_list="RC4")) == (
        "ssl_cipher_list: no cipher is left of RC4; leave it empty for good ones"
    )


# -- the files --------------------------------------------------------------------------------------------


def test_a_key_of_another_certificate(authority: Authority, change: Change) -> None:
    """T12: the pair is refused, with both names."""
    settings = change(ssl_key_file=str(authority.issue(OTHER).key))
    assert problem(settings) == (
        f"SSL key file {settings.ssl_key_file} does not fit certificate {settings.ssl_cert_file}:"
        " both must be from one request"
    )


def test_passwords_of_keys(authority: Authority, change: Change) -> None:
    locked = of(authority.issue(OTHER, password="sésame"))
    server_context(change(**locked, ssl_key_password="sésame"))
    file = f"Can't open SSL key file {locked['ssl_key_file']}: "
    assert problem(change(**locked)) == file + "it is encrypted, set ssl_key_password"
    wrong = problem(change(**locked, ssl_key_password="hunter2"))
    assert wrong == file + "ssl_key_password is wrong"
    assert problem(change(**locked, ssl_key_password="x" * 5000)).startswith(
        file + "password cannot be longer"
    )


@pytest.mark.parametrize("contents", [None, b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_files_that_cannot_be_used(change: Change, tmp_path: Path, contents: bytes | None) -> None:
    """T12: whatever is in the file's place, its name is told."""
    bad = tmp_path / "bad.pem"
    if contents is not None:
        bad.write_bytes(contents)
    missing = "No such file or directory"
    no_cert = "it holds no certificate in PEM form, or a broken one" if contents is not None else missing
    no_key = "it holds no private key in PEM form" if contents is not None else missing
    assert problem(change(ssl_cert_file=str(bad))) == f"Can't use SSL certificate {bad}: {no_cert}"
    assert problem(change(ssl_key_file=str(bad))) == f"Can't use SSL key file {bad}: {no_key}"
    asking = change(ssl_ca_file=str(bad), ssl_verify_client_cert=True)
    assert problem(asking) == f"Can't use SSL CA file {bad}: {no_cert}"


def test_every_pair_is_told_at_once(change: Change) -> None:
    blocks = tuple(LocalName((name,), f"/no/{name}.crt", f"/no/{name}.key", "") for name in ("a", "b"))
    assert problem(change(local_names=blocks)) == (
        "Can't use SSL certificate /no/a.crt: No such file or directory\n"
        "Can't use SSL certificate /no/b.crt: No such file or directory"
    )


def test_which_files_are_read(change: Change) -> None:
    block = LocalName(("a",), "/a.crt", "/a.key", "")
    settings = change(local_names=(block,), ssl_ca_file="/ca.pem")
    pair = [settings.ssl_cert_file, settings.ssl_key_file]
    assert list(files(settings)) == [*pair, "/a.crt", "/a.key"]
    asking = dataclasses.replace(settings, ssl_verify_client_cert=True)
    assert list(files(asking)) == [*pair, "/a.crt", "/a.key", "/ca.pem"]


# -- client certificates ----------------------------------------------------------------------------------


def common_name(peers: Peers) -> str:
    shown = peers.server.getpeercert()
    names: Any = dict(shown or {}).get("subject", ())
    return str(dict(part for name in names for part in name).get("commonName", ""))


def test_client_certificates(authority: Authority, change: Change, tmp_path: Path) -> None:
    server = server_context(change(ssl_ca_file=str(authority.ca), ssl_verify_client_cert=True))
    john = authority.issue("john", common_name="john@example.org")
    assert common_name(Peers(server, client_context(authority, john)).shake()) == "john@example.org"
    assert common_name(Peers(server, client_context(authority)).shake()) == ""
    stranger = Authority(tmp_path, "Other CA").issue("john", file="stranger")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        Peers(server, client_context(authority, stranger)).shake()
    late = authority.issue("john", file="late", days=-1)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        Peers(server, client_context(authority, late)).shake()


def test_revoked_client_certificates(authority: Authority, change: Change, tmp_path: Path) -> None:
    good, gone = authority.issue("john"), authority.issue("joe")
    both = tmp_path / "ca-and-crl.pem"
    both.write_bytes(authority.ca.read_bytes() + authority.revoke(gone))
    server = server_context(change(ssl_ca_file=str(both), ssl_verify_client_cert=True))
    assert common_name(Peers(server, client_context(authority, good)).shake()) == "john"
    with pytest.raises(ssl.SSLCertVerificationError, match="revoked"):
        Peers(server, client_context(authority, gone)).shake()


@pytest.mark.parametrize(("has_ca", "asks"), [(False, True), (True, False)])
def test_nobody_is_asked_in_vain(authority: Authority, change: Change, has_ca: bool, asks: bool) -> None:
    settings = change(ssl_ca_file=str(authority.ca) if has_ca else "", ssl_verify_client_cert=asks)
    assert server_context(settings).verify_mode is ssl.CERT_NONE


# -- the end of a certificate -----------------------------------------------------------------------------


@pytest.mark.parametrize("days", [0.5, 365, -400, 20000, 365 * 400])
def test_the_end_is_read(authority: Authority, days: float) -> None:
    """From 2050 on it is written in another form."""
    pair = authority.issue(NAME, days=days)
    chain = pair.cert.read_text() + "# comment\n" + authority.ca.read_text()
    first, second = certificate.ends(chain)
    assert first == pair.certificate.not_valid_after_utc
    assert second > datetime.now(UTC) + timedelta(days=3000)


def test_a_broken_certificate_is_no_crash(authority: Authority) -> None:
    pair = authority.issue(NAME)
    der = ssl.PEM_cert_to_DER_cert(pair.cert.read_text())
    end = f"{pair.certificate.not_valid_after_utc:%y%m%d%H%M%S}Z".encode()
    for length in range(der.index(end) + len(end) - 1):
        with pytest.raises(ValueError, match="broken certificate"):
            certificate.ends(ssl.DER_cert_to_PEM_cert(der[:length]))


@pytest.mark.parametrize(
    ("days", "words"),
    [(31.5, ""), (29.5, "ends on {}, in 29 days: replace it"), (0.5, "ends on {}, in 0 days: replace it"),
     (-1, "ended on {}: clients refuse it")],
)  # fmt: skip
def test_a_warning_before_the_end(authority: Authority, change: Change, days: float, words: str) -> None:
    pair = authority.issue(OTHER, days=days)
    block = LocalName((OTHER,), str(pair.cert), str(pair.key), "")
    settings = change(local_names=(block, LocalName(("gone",), "/no/x.crt", "/no/x.key", "")))
    end = pair.certificate.not_valid_after_utc
    expected = [f"SSL certificate {pair.cert} {words.format(end.date())}"] if words else []
    assert certificate_warnings(settings, datetime.now(UTC)) == expected
    assert certificate_ends(settings)[str(pair.cert)] == end
