"""When certificates end, read from their files: the library tells it only of those it has verified."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

_PEM = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_VERSION_TAG = 0xA0
_UTC_TIME_TAG = 0x17


def ends(pem: str) -> list[datetime]:
    """Return the end of each certificate of a PEM file, in its order. Raises ValueError for what is none."""
    return [_not_after(ssl.PEM_cert_to_DER_cert(one)) for one in _PEM.findall(pem)]


def _not_after(der: bytes) -> datetime:
    """Walk to the second time of `Validity` (RFC 5280 4.1)."""
    try:
        _, at, _ = _element(der, 0)
        _, at, _ = _element(der, at)
        tag, _, behind = _element(der, at)
        if tag == _VERSION_TAG:
            at = behind
        for _field in ("serialNumber", "signature", "issuer"):
            _, _, at = _element(der, at)
        _, at, _ = _element(der, at)
        _, _, at = _element(der, at)
        tag, begin, end = _element(der, at)
    except IndexError:
        raise ValueError("a certificate is cut off") from None
    text = der[begin:end].decode("ascii")
    if tag == _UTC_TIME_TAG:
        # RFC 5280 4.1.2.5.1: two digits from 50 on are of the last century.
        text = ("19" if text >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, begin and end of the contents of the element at `at`."""
    length = der[at + 1]
    begin = at + 2
    if length >= 0x80:
        begin += length - 0x80
        length = int.from_bytes(der[at + 2 : begin], "big")
    return der[at], begin, begin + length
