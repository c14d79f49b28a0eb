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
    return [end_of(ssl.PEM_cert_to_DER_cert(one)) for one in _PEM.findall(pem)]


def end_of(der: bytes) -> datetime:
    """Return the end of a certificate, the second time of `Validity` (RFC 5280 4.1). Raises ValueError."""
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
        return _time(der[begin:end].decode("ascii"), tag == _UTC_TIME_TAG)
    except (IndexError, ValueError):
        raise ValueError("broken certificate") from None


def _time(text: str, has_short_year: bool) -> datetime:
    if has_short_year:
        # RFC 5280 4.1.2.5.1: from 50 on they are of the last century.
        text = ("19" if text >= "50" else "20") + text
    if len(text) != len("YYYYMMDDHHMMSSZ"):
        raise ValueError(text)
    day, clock = text[4:8], text[8:14]
    year, month, of_month = int(text[:4]), int(day[:2]), int(day[2:])
    return datetime(year, month, of_month, int(clock[:2]), int(clock[2:4]), int(clock[4:]), tzinfo=UTC)


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, begin and end of the contents of the element at `at`."""
    length = der[at + 1]
    begin = at + 2
    if length >= 0x80:
        begin += length - 0x80
        length = int.from_bytes(der[at + 2 : begin], "big")
    return der[at], begin, begin + length
