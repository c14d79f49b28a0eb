"""What is known about the certificates of backends."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from mailproxy.net import seen_certificates
from mailproxy.net.seen_certificates import SeenCertificates
from tests.harness.tls import Authority, Pair

BACKEND = "mail.example.org(192.0.2.1):993"
DAY_S = 86_400


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.cert.read_text())


@pytest.mark.parametrize(
    ("days_s", "words"),
    [
        (31 * DAY_S, ""),
        (30 * DAY_S, "ends on {}, in 30 days"),
        (5, "ends on {}, in 0 days"),
        (0, "ended on {}"),
    ],
)
def test_a_warning_near_the_end(authority: Authority, days_s: int, words: str) -> None:
    pair = authority.issue("mail.example.org")
    end = pair.certificate.not_valid_after_utc
    said = SeenCertificates().note(BACKEND, der(pair), int(end.timestamp()) - days_s)
    assert said == (f"The certificate of backend {BACKEND} {words.format(end.date())}" if words else "")


def test_each_backend_once_a_day() -> None:
    seen = SeenCertificates()
    assert [seen.is_due(BACKEND, now) for now in (1000, 1001, 1000 + DAY_S - 1)] == [True, False, False]
    assert seen.is_due("other:993", 1001)
    assert seen.is_due(BACKEND, 1000 + DAY_S)
    assert not seen.is_due(BACKEND, 1001 + DAY_S)


def test_children_tell_each_other_and_their_parent(authority: Authority) -> None:
    """As with a process for each connection."""
    pair, seen = authority.issue("mail.example.org"), SeenCertificates()
    child = os.fork()
    if not child:
        due = seen.is_due(BACKEND, 1000)
        seen.note(BACKEND, der(pair), 1000)
        os._exit(not due)
    assert os.waitpid(child, 0)[1] == 0
    assert not seen.is_due(BACKEND, 1001)
    assert seen.ends() == {BACKEND: pair.certificate.not_valid_after_utc}


def test_the_figure_stays_while_it_is_looked_at_again(authority: Authority) -> None:
    pair, seen = authority.issue("mail.example.org"), SeenCertificates()
    seen.note(BACKEND, der(pair), 1000)
    assert seen.is_due(BACKEND, 1000 + DAY_S)
    assert seen.ends() == {BACKEND: pair.certificate.not_valid_after_utc}


def test_nonsense_is_no_figure() -> None:
    seen = SeenCertificates()
    assert (seen.note(BACKEND, b"", 1000), seen.note(BACKEND, b"\x30\x82", 1000), seen.ends()) == ("", "", {})


def test_a_certificate_of_another_age(authority: Authority) -> None:
    """B19: what a backend shows may have any dates; the handshake where it is looked at serves others too."""
    pair, seen = authority.issue("mail.example.org", days=-27_000), SeenCertificates()
    end = pair.certificate.not_valid_after_utc
    assert end.timestamp() < 0
    said = seen.note(BACKEND, der(pair), 1000)
    assert said == f"The certificate of backend {BACKEND} ended on {end.date()}"
    assert list(seen.ends()) == [BACKEND]


def test_what_a_captured_worker_writes() -> None:
    """V14: the master reads the page, which neither ends it nor shows an administrator other lines."""
    seen = SeenCertificates()
    for place, ends_s in enumerate((1, 2**32, 253_402_300_799, 253_402_300_800, 2**63, 2**64 - 1)):
        name = b"a\nmailproxy is fine\x1b[2J %d" % place
        seen_certificates._SLOT.pack_into(seen._page, place * seen_certificates._SLOT.size, ends_s, 0, name)
    assert list(seen.ends()) == [rf"a\x0amailproxy is fine\x1b[2J {place}" for place in range(3)]
    seen._page[:] = b"\xff" * len(seen._page)
    assert seen.ends() == {}
    assert seen.is_due(BACKEND, 1000)


def test_a_long_name_keeps_its_port(authority: Authority) -> None:
    seen, pair = SeenCertificates(), authority.issue("mail.example.org")
    for port in (993, 995):
        seen.note(f"{'x' * 250}:{port}", der(pair), 1000)
    assert [name[-5:] for name in seen.ends()] == ["x:993", "x:995"]


def test_more_backends_than_there_is_room_for(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some are forgotten; nothing is mixed up, and the memory stays what it was."""
    monkeypatch.setattr(seen_certificates, "_SLOTS", 16)
    seen, pair = SeenCertificates(), authority.issue("mail.example.org")
    names = [f"backend{number}:993" for number in range(200)]
    for name in names:
        assert seen.is_due(name, 1000)
        seen.note(name, der(pair), 1000)
    assert 8 <= len(seen.ends()) <= 16
    assert set(seen.ends()) <= set(names)
