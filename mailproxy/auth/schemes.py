"""Password schemes: whether a typed password fits what a database has stored.

Everything is bytes; every comparison takes time that does not depend on the contents. Stored data that is
malformed makes a password *unusable*, never a match and never an exception.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Callable
from enum import Enum
from functools import partial
from hmac import compare_digest

from mailproxy.auth import system_crypt
from mailproxy.auth.md5_state import hmac_md5_context

Check = Callable[[bytes, bytes, bytes], bool]
"""Of typed password, stored data and the user name as typed. Raises anything for malformed data."""


class Verdict(Enum):
    """The result of comparing a password."""

    MATCH = 1
    MISMATCH = 2
    TOO_LONG = 3
    """The scheme ignores the end of such a password, so that it would accept wrong ones: a mismatch."""
    UNUSABLE = 4
    """What is stored is malformed: the administrator's fault, a temporary failure for the user."""


class UnusablePassword(Exception):
    """What a database stores is no password of a known scheme; the text has nothing secret in it."""


class StoredPassword:
    """A stored password taken apart once, checked often."""

    __slots__ = ("_check", "_limit_bytes", "data", "is_slow", "scheme")

    def __init__(self, scheme: str, data: bytes) -> None:
        if scheme not in _CHECKS:
            raise UnusablePassword(f"Unknown password scheme {_shown(scheme)}")
        self.scheme = scheme
        self.data = data
        self._check, self._limit_bytes = _CHECKS[scheme]
        # Plain digests cost about a microsecond, all others up to a second.
        self.is_slow = scheme not in _FAST or (scheme in _MD5_CRYPT and data.startswith(b"$1$"))

    def verify(self, typed: bytes, original_user: bytes) -> Verdict:
        """Compare; `original_user` is the name as typed, which DIGEST-MD5 mixes in. Never raises."""
        try:
            if len(typed) > self._limit_bytes or (
                len(typed) > _BCRYPT_BYTES and self.scheme in _CRYPT and self.data.startswith(b"$2")
            ):
                return Verdict.TOO_LONG
            return Verdict.MATCH if self._check(typed, self.data, original_user) else Verdict.MISMATCH
        except Exception:
            # Hash libraries raise what they like for malformed data, and their texts may quote it.
            return Verdict.UNUSABLE


def parse_stored(stored: bytes, default_scheme: str) -> StoredPassword:
    """Read `{SCHEME}data`, or data in the default scheme. Raises UnusablePassword.

    Dovecot 2's suffixes `.b64` and `.hex` are accepted; without salt, the length tells the encoding.
    """
    scheme, data = default_scheme, stored
    if stored.startswith(b"{"):
        head, brace, data = stored[1:].partition(b"}")
        if not brace:
            raise UnusablePassword("Password scheme is missing its closing brace")
        scheme = head.decode("latin-1")
    name, _, encoding = scheme.upper().rpartition(".")
    if encoding not in ("B64", "BASE64", "HEX"):
        return StoredPassword(scheme.upper(), data)
    if encoding == "HEX" and name.startswith(("SSHA", "SMD5")):
        try:
            data = binascii.b2a_base64(binascii.unhexlify(data), newline=False)
        except ValueError:
            raise UnusablePassword(f"Stored password is not valid data of scheme {name}.HEX") from None
    return StoredPassword(name, data)


def load_libraries() -> None:
    """Make the hash libraries load all they load on first use: behind a chroot they could not."""
    samples = {b"ab": 11, b"_J9..rasm": 11, b"$1$ab$": 22, b"$5$rounds=1000$ab$": 43}
    samples |= {b"$6$rounds=1000$ab$": 86, b"$2b$": 0, b"$argon2id$": 0, b"$y$": 0}
    for sample, size in samples.items():
        StoredPassword("CRYPT", sample + b"." * size).verify(b"", b"")
    StoredPassword("PLAIN-MD4", b"0" * 32).verify(b"", b"")


def spend_as_long(typed: bytes, scheme: str) -> None:
    """Do the work of a comparison for a user that does not exist, where the scheme is cheap."""
    if scheme in _FAST:
        StoredPassword(scheme, b"0" * 32).verify(typed, b"")


def _shown(scheme: str) -> str:
    # A hash that merely begins with a brace must not reach the log as the name of a scheme.
    known = len(scheme) <= 20 and all(c.isascii() and (c.isalnum() or c in "-_.") for c in scheme)
    return scheme if known else "(unreadable)"


def _decoded(data: bytes, size: int) -> bytes:
    if len(data) == size * 2:
        return binascii.unhexlify(data)
    return binascii.a2b_base64(data, strict_mode=True)


def _plain(typed: bytes, data: bytes, _user: bytes) -> bool:
    return compare_digest(typed, data)


def _digest(
    algorithm: Callable[..., hashlib._Hash], size: int, typed: bytes, data: bytes, _user: bytes
) -> bool:
    computed = algorithm(typed).digest()
    stored = _decoded(data, size)
    if len(stored) != size:
        raise ValueError
    return compare_digest(computed, stored)


def _salted(
    algorithm: Callable[..., hashlib._Hash], size: int, typed: bytes, data: bytes, _user: bytes
) -> bool:
    raw = binascii.a2b_base64(data, strict_mode=True)
    if len(raw) <= size:
        raise ValueError
    return compare_digest(algorithm(typed + raw[size:]).digest(), raw[:size])


# The libraries are imported where they are used: this file is loaded by the master, which needs none of
# their 8 MB, and `load_libraries` runs in the auth process.
def _md4(data: bytes) -> hashlib._Hash:
    from passlib.crypto.digest import lookup_hash

    digest: hashlib._Hash = lookup_hash("md4").const(data)
    return digest


_plain_md5 = partial(_digest, hashlib.md5, 16)


def _md5_crypt(typed: bytes, data: bytes, user: bytes) -> bool:
    if not data.startswith(b"$1$"):
        return _plain_md5(typed, data, user)
    return _passlib("md5_crypt", typed, data, user)


def _crypt(typed: bytes, data: bytes, user: bytes) -> bool:
    for prefix, check in _CRYPT_KINDS:
        if data.startswith(prefix):
            return check(typed, data, user)
    if data.startswith(b"$"):
        return system_crypt.matches(typed, data)
    return _passlib("des_crypt", typed, data, user)


def _passlib(handler: str, typed: bytes, data: bytes, _user: bytes) -> bool:
    from passlib import hash as handlers

    return bool(getattr(handlers, handler).verify(typed, data))


def _bcrypt(typed: bytes, data: bytes, _user: bytes) -> bool:
    import bcrypt

    return bcrypt.checkpw(typed, data)


def _argon2(typed: bytes, data: bytes, _user: bytes) -> bool:
    from argon2 import Type
    from argon2.exceptions import VerifyMismatchError
    from argon2.low_level import verify_secret

    kind = {b"argon2i": Type.I, b"argon2d": Type.D, b"argon2id": Type.ID}[data.split(b"$")[1]]
    try:
        return verify_secret(data, typed, kind)
    except VerifyMismatchError:
        return False


def _pbkdf2(typed: bytes, data: bytes, _user: bytes) -> bool:
    empty, version, salt, rounds, digest = data.split(b"$")
    stored = binascii.unhexlify(digest)
    if empty or version != b"1" or len(stored) != 20:
        raise ValueError
    return compare_digest(hashlib.pbkdf2_hmac("sha1", typed, salt, int(rounds)), stored)


def _cram_md5(typed: bytes, data: bytes, _user: bytes) -> bool:
    stored = binascii.unhexlify(data)
    if len(stored) != 32:
        raise ValueError
    return compare_digest(hmac_md5_context(typed), stored)


def _digest_md5(typed: bytes, data: bytes, user: bytes) -> bool:
    stored = binascii.unhexlify(data)
    if len(stored) != 16:
        raise ValueError
    name, _, realm = user.partition(b"@")
    return compare_digest(hashlib.md5(b"%s:%s:%s" % (name, realm, typed)).digest(), stored)


_CRYPT_KINDS: tuple[tuple[bytes, Check], ...] = (
    (b"$1$", _md5_crypt),
    (b"$5$", partial(_passlib, "sha256_crypt")),
    (b"$6$", partial(_passlib, "sha512_crypt")),
    (b"$2", _bcrypt),
    (b"$argon2", _argon2),
    (b"_", partial(_passlib, "bsdi_crypt")),
)

_BCRYPT_BYTES = 72
_PASSLIB_BYTES = 4096
_NO_LIMIT = 1 << 30
_CRYPT = ("CRYPT", "BLF-CRYPT")
_MD5_CRYPT = ("MD5", "MD5-CRYPT")

_FAST: dict[str, Check] = {
    "PLAIN": _plain,
    "CLEARTEXT": _plain,
    "CLEAR": _plain,
    "PLAIN-MD4": partial(_digest, _md4, 16),
    "PLAIN-MD5": _plain_md5,
    "LDAP-MD5": _plain_md5,
    "MD5": _md5_crypt,
    "MD5-CRYPT": _md5_crypt,
    "SHA": partial(_digest, hashlib.sha1, 20),
    "SHA1": partial(_digest, hashlib.sha1, 20),
    "SHA256": partial(_digest, hashlib.sha256, 32),
    "SHA512": partial(_digest, hashlib.sha512, 64),
    "SMD5": partial(_salted, hashlib.md5, 16),
    "SSHA": partial(_salted, hashlib.sha1, 20),
    "SSHA256": partial(_salted, hashlib.sha256, 32),
    "SSHA512": partial(_salted, hashlib.sha512, 64),
    "CRAM-MD5": _cram_md5,
    "HMAC-MD5": _cram_md5,
    "DIGEST-MD5": _digest_md5,
}
_SLOW: dict[str, Check] = {
    "CRYPT": _crypt,
    "DES-CRYPT": partial(_passlib, "des_crypt"),
    "SHA256-CRYPT": partial(_passlib, "sha256_crypt"),
    "SHA512-CRYPT": partial(_passlib, "sha512_crypt"),
    "BLF-CRYPT": _bcrypt,
    "ARGON2I": _argon2,
    "ARGON2ID": _argon2,
    "PBKDF2": _pbkdf2,
}
_CHECKS: dict[str, tuple[Check, int]] = {name: (check, _NO_LIMIT) for name, check in _FAST.items()}
_CHECKS |= {name: (check, _PASSLIB_BYTES) for name, check in _SLOW.items()}
_CHECKS |= {name: (_FAST[name], _PASSLIB_BYTES) for name in _MD5_CRYPT}
