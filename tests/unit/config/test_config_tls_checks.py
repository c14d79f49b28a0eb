"""What is wrong with the settings of TLS, said with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailproxy.config.settings import LocalName
from tests.unit.config.config_text import LINE, PAIR, Faults, Read


def test_a_certificate_that_cannot_be_read_matters_once_tls_is_wanted(read: Read, faults: Faults) -> None:
    files = "ssl_cert_file = /no/cert.pem\nssl_key_file = /no/key.pem\n"
    expected = [
        "Can't use SSL certificate /no/cert.pem: No such file or directory",
        "Can't use SSL key file /no/key.pem: No such file or directory",
    ]
    assert faults(files) == [LINE.format(1, expected[0]), LINE.format(2, expected[1])]
    assert faults("protocols = imap\n" + files) == [LINE.format(2, expected[0]), LINE.format(3, expected[1])]
    assert faults("ssl_disable = yes\n" + files) == []
    assert faults("protocols = pop3s\nssl_key_file = /no/key.pem\nssl_cert_file = /dev/null\n") == [
        LINE.format(2, expected[1])
    ]
    assert read("").logins[0].tls.ssl_disable


def test_a_ca_file_is_checked_if_there_is_one(read: Read, faults: Faults, tmp_path: Path) -> None:
    pem = tmp_path / "a.pem"
    pem.write_text("")
    files = f"ssl_cert_file = {pem}\nssl_key_file = {pem}\n"
    assert not read(files).logins[0].tls.ssl_disable
    assert faults(files + "ssl_ca_file = /no/ca.pem\n") == [
        LINE.format(3, "Can't use SSL CA file /no/ca.pem: No such file or directory")
    ]


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("ssl = maybe\n", 1, "ssl must be yes, no or required: maybe"),
        ("ssl_disable = yes\nssl = required\n", 2, "ssl = required contradicts ssl_disable = yes"),
        ("ssl_min_protocol = TLSv2\n", 1, "ssl_min_protocol must be TLSv1.2 or TLSv1.3: TLSv2"),
        ("local_name a.example.org {\n}\n", 1, "local_name a.example.org has no ssl_cert_file"),
        ("local_name {\n}\n", 1, "local_name: Invalid host name: "),
        ("local_name a..b {\n}\n", 1, "local_name: Invalid host name: a..b"),
        ("local_name a.*.b {\n}\n", 1, "local_name: Invalid host name: a.*.b"),
        ("local_name a \x1b {\n}\n", 1, "local_name: Invalid host name: \\x1b"),
        (
            "local_name m\xfcll.example.org {\n}\n",
            1,
            "local_name: Invalid host name: m\\xc3\\xbcll.example.org",
        ),
        ("local_name a {\nssl_cert_file = /dev/null\nlisten = x\n}\n", 3, "Unknown setting: listen"),
        ("local_name a {\nssl_cert_file = /dev/null\nlocal_name b {\n}\n}\n", 3, "Unknown section type"),
        (
            "local_name a {\nssl_cert_file = /dev/null\nssl_key_file = /no/a.key\n}\n",
            3,
            "Can't use SSL key file /no/a.key: No such file or directory",
        ),
    ],
)
def test_one_fault_of_tls(faults: Faults, text: str, line: int, fault: str) -> None:
    assert faults(text + PAIR) == [LINE.format(line, fault)]


def test_tls_may_be_required(read: Read, faults: Faults) -> None:
    """T08: without TLS no password is taken, whatever disable_plaintext_auth says."""
    (login,) = read("ssl = required\ndisable_plaintext_auth = no\n" + PAIR).logins
    assert (login.tls.required, login.tls.ssl_disable, login.disable_plaintext_auth) == (True, False, True)
    (login,) = read("ssl = yes\ndisable_plaintext_auth = no\n" + PAIR).logins
    assert (login.tls.required, login.tls.ssl_disable, login.disable_plaintext_auth) == (False, False, False)
    assert read("ssl = no\n" + PAIR).logins[0].tls.ssl_disable
    assert faults("ssl = required\n")[0].startswith("Can't use SSL certificate /etc/ssl/certs/dovecot.pem: ")


@pytest.mark.parametrize(
    ("word", "used"),
    [
        ("TLSv1.2", "TLSv1.2"),
        ("tlsv1.3", "TLSv1.3"),
        ("LATEST", "TLSv1.3"),
        ("TLSv1", "TLSv1.2"),
        ("ANY", "TLSv1.2"),
    ],
)
def test_the_floor_of_tls(read: Read, word: str, used: str) -> None:
    """T11: what is older than TLS 1.2 is never spoken."""
    settings = read(f"protocols = imap\nssl_min_protocol = {word}\n" + PAIR)
    assert settings.logins[0].tls.ssl_min_protocol == used
    is_old = word in ("TLSv1", "ANY")
    assert (f"ssl_min_protocol = {word} is unsafe, using TLSv1.2" in settings.warnings) == is_old


@pytest.mark.parametrize(
    ("ciphers", "weak"),
    [
        ("", ""),
        ("ALL:!LOW:!SSLv2", ""),
        ("HIGH:!RC4:-MD5:@STRENGTH", ""),
        ("ECDHE+AESGCM,RC4-SHA LOW", "RC4-SHA, LOW"),
        ("ECDHE-RSA-DES-CBC3-SHA:kRSA+3DES", "ECDHE-RSA-DES-CBC3-SHA, kRSA+3DES"),
        ("aNULL:EXP-RC2-CBC-MD5", "aNULL, EXP-RC2-CBC-MD5"),
    ],
)
def test_weak_ciphers_are_named(read: Read, ciphers: str, weak: str) -> None:
    warnings = read(f"ssl_cipher_list = {ciphers}\n" + PAIR).warnings
    assert warnings == ((f"ssl_cipher_list: weak ciphers are left out: {weak}",) if weak else ())


def test_local_names_take_the_rest_from_outside(read: Read) -> None:
    text = (
        "protocols = imap pop3\nssl_key_password = outer\n"
        "local_name A.example.org *.B.example.org {\n  ssl_cert_file = /dev/zero\n}\n"
        "protocol pop3 {\n  local_name pop.example.org {\n    ssl_cert_file = /dev/zero\n"
        "    ssl_key_file = /dev/zero\n    ssl_key_password = inner\n  }\n}\n"
    )
    imap, pop3 = (login.tls for login in read(text + PAIR).logins)
    both = LocalName(("a.example.org", "*.b.example.org"), "/dev/zero", "/dev/null", "outer")
    assert imap.local_names == (both,)
    assert pop3.local_names == (both, LocalName(("pop.example.org",), "/dev/zero", "/dev/zero", "inner"))
    assert "outer" not in repr(imap)
    assert "inner" not in repr(pop3)


def test_a_key_that_all_can_read_is_told(read: Read, tmp_path: Path) -> None:
    key = tmp_path / "a.key"
    key.write_text("")
    text = f"protocols = imap\nssl_cert_file = /dev/null\nssl_key_file = {key}\n"
    key.chmod(0o644)
    exposed = f"{key} holds secrets and is readable by every user: chmod 0640 or less"
    assert read(text).warnings == (exposed,)
    key.chmod(0o640)
    assert read(text).warnings == ()


def test_client_certificates_need_an_authority(read: Read) -> None:
    text = "without ssl_ca_file no client certificate is valid: none is asked for"
    assert text in read("ssl_verify_client_cert = yes\n" + PAIR).warnings
    assert text in read("auth_ssl_username_from_cert = yes\n" + PAIR).warnings
    assert text not in read("ssl_verify_client_cert = yes\nssl_ca_file = /dev/null\n" + PAIR).warnings


def test_an_auth_section_may_ask_for_client_certificates(read: Read) -> None:
    assert not read("").logins[0].tls.ssl_verify_client_cert
    assert read("auth_ssl_require_client_cert = yes\n").logins[0].tls.ssl_verify_client_cert
