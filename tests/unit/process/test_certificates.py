from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from mailproxy.base.errors import ConfigError
from mailproxy.cli import EXIT_FATAL, main
from mailproxy.config.load import load
from mailproxy.config.settings import Settings
from mailproxy.process.certificates import Certificates
from tests.harness.tls import Authority, Pair

AUTH = """\
auth default {
  user = nobody
  passdb static {
  }
  userdb static {
  }
}
"""


class Place:
    """A folder with a configuration, its pair, and a clock for the files."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.pair = self.authority.issue("mail.example.org")
        self.path = folder / "dovecot.conf"

    def settings(self, more: str = "") -> Settings:
        self.path.write_text(f"protocols = imap imaps pop3\n{self.pair.settings()}{more}{AUTH}")
        return load(str(self.path))

    def other(self) -> Pair:
        return self.authority.issue("mail.example.org", file="other")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return Place(tmp_path)


def test_a_context_for_each_protocol(place: Place) -> None:
    found = Certificates(place.settings())
    assert set(found.contexts) == {"imap", "pop3"}
    assert found.contexts["imap"] is not found.contexts["pop3"]
    assert found.is_watched


@pytest.mark.parametrize("off", ["ssl_disable = yes\n", "ssl = no\n"])
def test_without_tls_there_is_nothing_to_watch(place: Place, off: str) -> None:
    place.settings()
    found = Certificates(place.settings(off))
    assert (found.contexts, found.is_watched, found.renewed(), found.warnings()) == ({}, False, None, [])


def test_backends_are_met_with_tls_even_when_clients_are_not(place: Place) -> None:
    """One pair of contexts for each CA file, at a few KiB without one."""
    plain = Certificates(place.settings("ssl = no\n")).backend
    assert plain["imap"] is plain["pop3"]
    assert plain["imap"].verifying.cert_store_stats()["x509"] == 0
    own = f"ssl = no\nprotocol pop3 {{\n  ssl_client_ca_file = {place.authority.ca}\n}}\n"
    mixed = Certificates(place.settings(own)).backend
    assert mixed["imap"].verifying.cert_store_stats()["x509"] == 0
    assert mixed["pop3"].verifying.cert_store_stats()["x509_ca"] == 1


def test_another_ca_file_for_backends_is_taken(place: Place) -> None:
    """T15: by itself, after a look at what is in it; a broken one changes nothing."""
    ca = place.path.parent / "backends.pem"
    ca.write_bytes(place.authority.ca.read_bytes())
    settings = place.settings(f"ssl = no\nssl_client_ca_file = {ca}\n")
    found = Certificates(settings)
    assert found.is_watched
    assert Certificates(settings, found).backend is found.backend
    ca.write_text("garbage")
    assert found.renewed() is None
    with pytest.raises(ConfigError, match=r"ssl_client_ca_file: Can't use SSL CA file \S+: it holds no cert"):
        found.renewed()
    other = Authority(place.path.parent, "Another CA")
    ca.write_bytes(other.ca.read_bytes())
    assert found.renewed() is None
    renewed = found.renewed()
    assert renewed is not None
    (authority,) = renewed.backend["imap"].verifying.get_ca_certs()
    assert authority["subject"] == ((("commonName", "Another CA"),),)


def test_nothing_changes_while_the_files_do_not(place: Place) -> None:
    found = Certificates(place.settings())
    assert [found.renewed() for _ in range(3)] == [None] * 3


def test_a_new_pair_is_taken_when_it_is_complete(place: Place) -> None:
    """T12: between the certificate and its key nothing is tried, and nothing is said."""
    found = Certificates(place.settings())
    other = place.other()
    new_cert = place.pair.cert.with_suffix(".new")
    new_cert.write_bytes(other.cert.read_bytes())
    new_cert.replace(place.pair.cert)
    assert found.renewed() is None
    place.pair.replace_with(other)
    assert found.renewed() is None
    renewed = found.renewed()
    assert renewed is not None
    assert renewed.contexts["imap"] is not found.contexts["imap"]
    assert [renewed.renewed() for _ in range(2)] == [None] * 2


@pytest.mark.parametrize("contents", ["garbage", ""])
def test_a_broken_file_is_told_once(place: Place, contents: str) -> None:
    """T12: the old pair stays, one complaint for each state of the files."""
    found = Certificates(place.settings())
    good = place.pair.key.read_text()
    place.pair.key.write_text(contents)
    assert found.renewed() is None
    with pytest.raises(ConfigError, match=r"Can't use SSL key file \S+: it holds no private key"):
        found.renewed()
    assert [found.renewed() for _ in range(3)] == [None] * 3
    place.pair.key.unlink()
    assert found.renewed() is None
    with pytest.raises(ConfigError, match=r"Can't use SSL key file \S+: No such file"):
        found.renewed()
    assert found.renewed() is None
    place.pair.key.write_text(good)
    assert found.renewed() is None
    assert found.renewed() is not None


def test_a_pair_that_does_not_fit_is_refused(place: Place) -> None:
    """T12: by a reload, at once and for both protocols in one line."""
    before = Certificates(place.settings())
    place.pair.key.write_bytes(place.other().key.read_bytes())
    with pytest.raises(ConfigError, match="does not fit certificate") as caught:
        Certificates(place.settings(), before)
    assert len(caught.value.problems) == 1


def test_a_reload_keeps_the_contexts_of_the_same_files(place: Place) -> None:
    """Tickets of before are still good."""
    before = Certificates(place.settings())
    assert Certificates(place.settings("login_greeting = x\n"), before).contexts is before.contexts
    stricter = Certificates(place.settings("ssl_min_protocol = TLSv1.3\n"), before)
    assert stricter.contexts["imap"] is not before.contexts["imap"]
    assert stricter.contexts["imap"].minimum_version is ssl.TLSVersion.TLSv1_3
    place.pair.replace_with(place.other())
    renewed = Certificates(place.settings(), before)
    assert renewed.contexts["imap"] is not before.contexts["imap"]


def test_one_warning_for_both_protocols(place: Place) -> None:
    place.pair.replace_with(place.authority.issue("mail.example.org", file="short", days=9.5))
    (warning,) = Certificates(place.settings()).warnings()
    assert warning.startswith(f"SSL certificate {place.pair.cert} ends on ")


@pytest.mark.parametrize("option", ["--check", "-F"])
def test_the_command_refuses_a_pair_that_does_not_fit(
    place: Place, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """T12: before anything is touched."""
    place.pair.key.write_bytes(place.other().key.read_bytes())
    folder = place.path.parent
    place.settings(f"base_dir = {folder}/base\nlog_path = {folder}/log\n")
    assert main([option, "-c", str(place.path)]) == EXIT_FATAL
    assert capsys.readouterr().err.startswith(
        f"Error: SSL key file {place.pair.key} does not fit certificate "
    )
    assert not (folder / "base").exists()


def test_the_check_tells_of_an_end_that_is_near(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.pair.replace_with(place.authority.issue("mail.example.org", file="short", days=9.5))
    place.settings()
    assert main(["--check", "-c", str(place.path)]) == 0
    assert f"Warning: SSL certificate {place.pair.cert} ends on " in capsys.readouterr().err


def test_authorities_end_too(place: Place, tmp_path: Path) -> None:
    """The one for backends; a bundle with authorities of all the world is left to the distribution."""
    own, bundle = tmp_path / "own.pem", tmp_path / "bundle.pem"
    short = place.authority.issue("an authority", file="short", days=3.5)
    own.write_bytes(place.authority.ca.read_bytes() + short.cert.read_bytes())
    bundle.write_bytes(short.cert.read_bytes() * 11)
    found = Certificates(place.settings(f"ssl_client_ca_file = {own}\n"))
    end = short.certificate.not_valid_after_utc
    assert found.warnings() == [f"SSL CA file {own}: an authority ends on {end.date()}"]
    assert found.ends()[str(own)] == end
    assert found.ends_in_words()[0] == f"certificate {own}: 3 days left"
    other = Certificates(place.settings(f"ssl_client_ca_file = {bundle}\n"))
    assert (other.warnings(), set(other.ends())) == ([], {str(place.pair.cert)})


def test_what_backends_showed_is_known_after_a_reload(place: Place) -> None:
    found = Certificates(place.settings())
    der = ssl.PEM_cert_to_DER_cert(place.pair.cert.read_text())
    found.seen.note("mail:993", der, 1000)
    again = Certificates(place.settings("login_greeting = x\n"), found)
    assert again.ends()["mail:993"] == place.pair.certificate.not_valid_after_utc
