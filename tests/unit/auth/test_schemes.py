"""Password schemes, against stored forms that Dovecot and the C library made."""

from __future__ import annotations

import hmac
import subprocess
import sys

import pytest

from mailproxy.auth.md5_state import hmac_md5_context, hmac_md5_from_context
from mailproxy.auth.schemes import StoredPassword, UnusablePassword, Verdict, parse_stored, spend_as_long

PASSWORD = b"secret 1"
STORED = [
    b"{PLAIN}secret 1",
    b"{CLEAR}secret 1",
    b"{Cleartext}secret 1",
    b"{CRYPT}$2y$05$8M/wgxP34Bsriny/4tx8W.LnGww82D/VFZDMBFDObF.gB/RQZXtq6",
    b"{MD5-CRYPT}$1$6dfFCZUw$cNw0xRZV2MzX0OKK4ZTd/0",
    b"{CRYPT}$1$6dfFCZUw$cNw0xRZV2MzX0OKK4ZTd/0",
    b"{MD5}$1$BGOyGFtA$05KfDy3VixOrMibJttxlS0",
    b"{MD5}HmcQLH3WPD82lhfHvDNA3A==",
    b"{SHA}d+1u2EkyrCRtibT6deyaNa44uDo=",
    b"{SHA1}d+1u2EkyrCRtibT6deyaNa44uDo=",
    b"{SHA}77ed6ed84932ac246d89b4fa75ec9a35ae38b83a",
    b"{SHA1.b64}d+1u2EkyrCRtibT6deyaNa44uDo=",
    b"{SSHA}HkJZdE/09bjBMoiQpCklCYlioA6+phEi",
    b"{SSHA.HEX}851078d80bdbdd5357dca1f5982dd32e20a15d1595ee6221",
    b"{SMD5}M78fcCCFkRhvEAurBZu5cmqQRao=",
    b"{SHA256}VIXLXQOYHMO9mJKQpr4zyjksATJ5pcPD/RChyuV+FGA=",
    b"{SSHA256}fYtgywM/zNUmyFBnxWTGt8tBLV804rs2xpqxeGlDnO7AvOoC",
    b"{SHA512}cQTBMoMv1DAMNtSzejCmxDeQhZ2KR7KArhVxucLiY/ZEPwYT1Z5E8QwrHsDRsJ9+UpODmylxGXwUw6CWM8CdNw==",
    b"{SSHA512}wBo884elLRJqpE78wP/ZpJPdzc1nIXTnHpU9qDylPBIsfh3Swpdy//m7dvJi4/CQlu5bLLeZqwWa0jgLI0xavCkR6yk=",
    b"{PLAIN-MD4}573de6d7d550dc6043b38a192e3cebb0",
    b"{PLAIN-MD5}1e67102c7dd63c3f369617c7bc3340dc",
    b"{plain-md5}1E67102C7DD63C3F369617C7BC3340DC",
    b"{LDAP-MD5}HmcQLH3WPD82lhfHvDNA3A==",
    b"{CRAM-MD5}8eb3a4d770df8d016dab7951af84561f891700f10d4bc1d338f671fb95c8df21",
    b"{HMAC-MD5}8eb3a4d770df8d016dab7951af84561f891700f10d4bc1d338f671fb95c8df21",
    b"{DIGEST-MD5}e033cd8f7baabf0e5491e90838b766d9",
    b"{BLF-CRYPT}$2y$05$5rVy04z1BTQzLjVeRiJSze91K6evCzgUXKpOf987.IhuVYCEfB8ze",
    b"{ARGON2I}$argon2i$v=19$m=32768,t=5,p=1$ycgY/l9VASYh9BCe5VB+CQ$1UUkBKOJPaQvheC7FdIlcMMV8YxPz9PpBtRgh98zkGw",
    b"{SHA256-CRYPT}$5$rounds=1000$ya285Oa/kzbLgBM/$TEAP/x3QC4iK/5cFj69pLdVoNBNLMulC0ukNcL4yvx6",
    b"{CRYPT}$5$rounds=1000$ya285Oa/kzbLgBM/$TEAP/x3QC4iK/5cFj69pLdVoNBNLMulC0ukNcL4yvx6",
    b"{SHA512-CRYPT}$6$rounds=1000$Tg3gxKgAYwVjP0/r$S7CD5Ss9up1U/PBL2mqNKofPCA7YBdEqzLFx63O.IzsE"
    b".cbs51mvdlJpO/rFadPP13cIQq/00AokSi0kRzt5e0",
    b"{PBKDF2}$1$W2/0PThCRDs6UoOW$5$138ee1ee5c6801e4174db170d5dd6f276a6a4029",
]


@pytest.mark.parametrize("stored", STORED)
def test_right_and_wrong(stored: bytes) -> None:
    """A16: every scheme takes any bytes without an exception."""
    parsed = parse_stored(stored, "PLAIN")
    assert parsed.verify(PASSWORD, b"john@example.com") is Verdict.MATCH
    for wrong in (b"secret 2", b"secret 1 ", b"", "s\u00e9cret".encode(), b"\xff\xfe", b"x" * 72):
        assert parsed.verify(wrong, b"john@example.com") is Verdict.MISMATCH


@pytest.mark.parametrize(
    "stored",
    [
        b"abLgSVu9yfcSU",
        b"_J9..rasmfmhV7RRzmDM",
        b"$y$j9T$F5Jx5fExrKuPp53xLKQ..1$V4p5iBmZf4wQMmzaI7h9XZIW8nMY9cicSFB32kMv422",
        b"$1$abcdefgh$2UbKDjrSyPsG2me2He20O/",
        b"$2b$04$abcdefghijklmnopqrstuuf9claapLzvu1QsR26ELbpX/oQU4x2l2",
    ],
)
def test_crypt_of_eight_bit_passwords(stored: bytes) -> None:
    """A16: bytes are compared, no transcoding."""
    parsed = parse_stored(stored, "CRYPT")
    assert parsed.verify("s\u00e9cret!".encode(), b"") is Verdict.MATCH
    assert parsed.verify("s\u00e9cret!".encode("latin-1"), b"") is Verdict.MISMATCH


@pytest.mark.parametrize(
    "stored", [b"", b"$2b$", b"*", b"!", b"x", b"$2b$99$" + b"a" * 53, b"$1$", b"$6$rounds=x$y", b"$y$", b"$"]
)
@pytest.mark.parametrize(
    "scheme", ["CRYPT", "PLAIN-MD5", "BLF-CRYPT", "SSHA", "CRAM-MD5", "ARGON2ID", "PBKDF2"]
)
def test_malformed_is_unusable(stored: bytes, scheme: str) -> None:
    """A17: never a match and never an exception."""
    assert parse_stored(stored, scheme).verify(b"x", b"") is Verdict.UNUSABLE


@pytest.mark.parametrize("stored", [b"{", b"{X}y", b"{PLAIN", b"{}x", b"{SSHA.HEX}zz", b"{.b64}x"])
def test_unknown_scheme(stored: bytes) -> None:
    """A17: an unknown scheme or a missing brace."""
    with pytest.raises(UnusablePassword):
        parse_stored(stored, "PLAIN")


def test_tail_that_bcrypt_ignores_is_not_accepted() -> None:
    """A16, C10: over 72 bytes the whole password cannot be compared, so it is refused."""
    parsed = parse_stored(b"$2b$04$abcdefghijklmnopqrstuuf9claapLzvu1QsR26ELbpX/oQU4x2l2", "BLF-CRYPT")
    assert parsed.verify(b"x" * 73, b"") is Verdict.TOO_LONG
    assert parse_stored(b"{CRYPT}" + parsed.data, "PLAIN").verify(b"x" * 73, b"") is Verdict.TOO_LONG
    assert parse_stored(b"{CRYPT}abLgSVu9yfcSU", "PLAIN").verify(b"x" * 5000, b"") is Verdict.TOO_LONG
    assert parse_stored(b"x" * 5000, "PLAIN").verify(b"x" * 5000, b"") is Verdict.MATCH


def test_what_is_slow() -> None:
    """A15: anything above some microseconds has to run in a thread."""
    slow = [b"{CRYPT}x", b"{BLF-CRYPT}x", b"{ARGON2ID}x", b"{PBKDF2}x", b"{MD5}$1$x", b"{SHA512-CRYPT}x"]
    assert all(parse_stored(stored, "PLAIN").is_slow for stored in slow)
    fast = [b"{PLAIN}x", b"{MD5}x", b"{SSHA512}x", b"{PLAIN-MD5}x"]
    assert not any(parse_stored(stored, "PLAIN").is_slow for stored in fast)


def test_dummy_work_never_raises() -> None:
    """A18: for any default scheme, known or not."""
    for scheme in ("PLAIN", "PLAIN-MD5", "SSHA", "BLF-CRYPT", "CRAM-MD5", "NOPE"):
        spend_as_long(b"x", scheme)


def test_digest_md5_uses_the_name_as_typed() -> None:
    stored = StoredPassword("DIGEST-MD5", b"e033cd8f7baabf0e5491e90838b766d9")
    assert stored.verify(PASSWORD, b"john@example.com") is Verdict.MATCH
    assert stored.verify(PASSWORD, b"john") is Verdict.MISMATCH


@pytest.mark.parametrize("length", [0, 1, 54, 55, 56, 63, 64, 65, 119, 120, 500])
def test_hmac_from_its_context(length: int) -> None:
    """The states lead to the same HMAC as the standard library's, around every block border."""
    for key in (b"", b"k", b"k" * 64, b"k" * 65):
        message = b"m" * length
        assert hmac_md5_from_context(hmac_md5_context(key), message) == hmac.digest(key, message, "md5")


_LOADS_NOTHING = """
import sys
from mailproxy.auth.schemes import load_libraries, parse_stored
light = not {"passlib", "bcrypt", "argon2"} & set(sys.modules)
load_libraries()
before = set(sys.modules)
for stored in sys.argv[1:]:
    parse_stored(stored.encode(), "PLAIN").verify(b"secret 1", b"john@example.com")
print(light, sorted(set(sys.modules) - before))
"""


def test_everything_is_loaded_before_a_chroot() -> None:
    """The master pays nothing for the libraries, and no check loads anything later on."""
    command = [sys.executable, "-c", _LOADS_NOTHING, *(stored.decode() for stored in STORED)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout == "True []\n"
