from __future__ import annotations

import pytest

from tests.harness.session_recorder import make_policy

MECHANISMS = (b"CRAM-MD5", b"PLAIN", b"APOP")


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
    face = policy.face_secured if secured else policy.face_unsecured
    assert face.capability == b"* CAPABILITY IMAP4rev1" + words + b"\r\n"
    assert face.greeting == b"* OK Dovecot ready.\r\n"
    assert face.plaintext_allowed is (secured or not disabled)


def test_imap_greeting_with_capability() -> None:
    policy = make_policy("imap", greeting_capability=True, capability="IMAP4rev1")
    assert policy.face_secured.greeting == b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] Dovecot ready.\r\n"


def test_pop3_faces() -> None:
    """7.2: USER and AUTH by the rule of CAPA, not by the inverted one of Dovecot 1.0."""
    policy = make_policy("pop3", MECHANISMS, disable_plaintext_auth=True, capability="TOP")
    assert policy.face_unsecured.capability == b"+OK\r\nTOP\r\nSASL CRAM-MD5\r\n.\r\n"
    assert policy.face_secured.capability == b"+OK\r\nTOP\r\nUSER\r\nSASL CRAM-MD5 PLAIN\r\n.\r\n"
    assert policy.face_unsecured.mechanism_list == b"+OK\r\nCRAM-MD5\r\n.\r\n"


def test_user_needs_plain() -> None:
    """34: USER and PASS are mechanism PLAIN."""
    assert b"USER" not in make_policy("pop3", (b"CRAM-MD5",)).face_secured.capability


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
