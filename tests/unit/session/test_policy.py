from __future__ import annotations

from typing import Any

import pytest

from mailproxy.proto.frontend import Face
from mailproxy.session.policy import words_of_backends
from tests.harness.session_recorder import make_client, make_policy

MECHANISMS = (b"CRAM-MD5", b"PLAIN", b"APOP")
SECURED, UNSECURED = make_client(True), make_client()


@pytest.mark.parametrize(
    ("disabled", "secured", "words"),
    [
        (True, False, b" LOGINDISABLED AUTH=CRAM-MD5"),
        (True, True, b" AUTH=CRAM-MD5 AUTH=PLAIN"),
        (False, False, b" AUTH=CRAM-MD5 AUTH=PLAIN"),
        (False, True, b" AUTH=CRAM-MD5 AUTH=PLAIN"),
    ],
)
def test_imap_capability(disabled: bool, secured: bool, words: bytes) -> None:
    """6.2: the order is auth's, private mechanisms are hidden."""
    policy = make_policy("imap", MECHANISMS, disable_plaintext_auth=disabled, capability="IMAP4rev1")
    face = policy.face(make_client(secured))
    assert face.capability == b"* CAPABILITY IMAP4rev1" + words + b"\r\n"
    assert face.greeting == b"* OK Dovecot ready.\r\n"
    assert face.plaintext_allowed is (secured or not disabled)


def test_imap_greeting_with_capability() -> None:
    policy = make_policy("imap", greeting_capability=True, capability="IMAP4rev1")
    assert policy.face(SECURED).greeting == b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Dovecot ready.\r\n"


def test_what_a_backend_lacks_is_not_offered() -> None:
    """What we do ourselves stays, in any case of letters; so does everything that is not in the list."""
    words = "IMAP4rev1 SASL-IR Sort IDLE LOGIN-REFERRALS ID"
    policy = make_policy("imap", greeting_capability=True, capability=words)
    policy.limit({b"SORT", b"LITERAL+"})
    told = b"IMAP4rev1 SASL-IR IDLE LOGIN-REFERRALS ID AUTH=PLAIN"
    assert policy.face(SECURED).capability == b"* CAPABILITY " + told + b"\r\n"
    assert policy.face(SECURED).greeting == b"* OK [CAPABILITY " + told + b"] Dovecot ready.\r\n"
    limited = policy.face(SECURED)
    policy.limit({b"SORT"})
    assert policy.face(SECURED) is limited
    policy.limit({b"X"})
    assert b" Sort " in policy.face(SECURED).capability
    assert words_of_backends(words) == {b"SORT", b"IDLE"}


def test_every_kind_of_client_is_limited() -> None:
    """By the same rules as without a limit."""
    settings: dict[str, Any] = {"disable_plaintext_auth": True, "tls_available": True}
    for protocol in ("imap", "pop3"):
        limited = make_policy(protocol, capability="X IDLE", **settings)
        limited.limit({b"IDLE"})
        wanted = make_policy(protocol, capability="X", **settings)
        for kind in range(8):
            client = make_client(bool(kind & 1), "TLSv1.3" if kind & 2 else "")
            client.is_trusted = bool(kind & 4)
            one, other = limited.face(client), wanted.face(client)
            assert [getattr(one, name) for name in Face.__slots__] == [
                getattr(other, name) for name in Face.__slots__
            ]


def test_pop3_faces() -> None:
    """7.2: USER and AUTH by the rule of CAPA, not by the inverted one of Dovecot 1.0."""
    policy = make_policy("pop3", MECHANISMS, disable_plaintext_auth=True, capability="TOP")
    assert policy.face(UNSECURED).capability == b"+OK\r\nTOP\r\nSASL CRAM-MD5\r\n.\r\n"
    assert policy.face(SECURED).capability == b"+OK\r\nTOP\r\nUSER\r\nSASL CRAM-MD5 PLAIN\r\n.\r\n"
    assert policy.face(UNSECURED).mechanism_list == b"+OK\r\nCRAM-MD5\r\n.\r\n"


def test_user_needs_plain() -> None:
    """34: USER and PASS are mechanism PLAIN."""
    assert b"USER" not in make_policy("pop3", (b"CRAM-MD5",)).face(SECURED).capability


def test_what_depends_on_the_protocol() -> None:
    assert (make_policy("imap", MECHANISMS).backend_port, make_policy("imap", MECHANISMS).apop_offered) == (
        143,
        False,
    )
    assert (make_policy("pop3", MECHANISMS).backend_port, make_policy("pop3", MECHANISMS).apop_offered) == (
        110,
        True,
    )
    assert not make_policy("pop3").apop_offered


@pytest.mark.parametrize(
    ("secured", "tls", "words"),
    [
        (False, "", b" STARTTLS LOGINDISABLED"),
        (True, "", b" STARTTLS AUTH=PLAIN"),
        (True, "TLSv1.3", b" AUTH=PLAIN"),
    ],
)
def test_capability_by_state(secured: bool, tls: str, words: bytes) -> None:
    """6.2: with TLS configured, from afar, from this host, and within TLS."""
    policy = make_policy("imap", capability="X", disable_plaintext_auth=True, tls_available=True)
    assert policy.face(make_client(secured, tls)).capability == b"* CAPABILITY X" + words + b"\r\n"


def test_trusted_networks() -> None:
    """C19: addresses of either family, and the mapped ones of a listener for both."""
    policy = make_policy(trusted_networks=["10.0.0.0/24", "2001:db8::1"])
    trusted = [a for a in ("10.0.0.9", "10.0.1.9", "::ffff:10.0.0.9", "2001:db8::1", "x") if policy.trusts(a)]
    assert trusted == ["10.0.0.9", "::ffff:10.0.0.9", "2001:db8::1"]
    assert not make_policy().trusts("10.0.0.9")
