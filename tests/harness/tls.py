"""Certificates for tests, made in a moment: authorities, servers' pairs, clients' pairs, revocation lists."""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its key, as two PEM files."""

    cert: Path
    key: Path
    certificate: x509.Certificate

    def settings(self) -> str:
        """Return the lines of a configuration that name both."""
        return f"ssl_cert_file = {self.cert}\nssl_key_file = {self.key}\n"

    def replace_with(self, other: Pair) -> None:
        """Put another pair in the place of this one, a file at a time as an administrator does."""
        for ours, theirs in ((self.cert, other.cert), (self.key, other.key)):
            new = ours.with_suffix(".new")
            new.write_bytes(theirs.read_bytes())
            new.chmod(0o600)
            os.replace(new, ours)


class Authority:
    """Signs certificates in `folder`; `ca` is its own, which a client trusts."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self._folder = folder
        self._name = name.replace(" ", "-")
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _subject(name)
        builder = _builder(self._subject, self._key, self._subject, _now() - DAY, _now() + 3650 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs=True), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self.ca = folder / f"{self._name}.pem"
        self.ca.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        *names: str,
        file: str = "",
        password: str = "",
        days: float = 365,
        common_name: str = "",
    ) -> Pair:
        """Issue a pair for names and addresses, `days` from now to its end, which may be past.

        `file` is the stem of both files, the first name if empty; a `password` encrypts the key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        end = _now() + days * DAY
        begin = min(_now(), end) - DAY
        subject = _subject(common_name or names[0])
        builder = _builder(subject, key, self._subject, begin, end)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs=False), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        stem = file or (names[0] if names else common_name)
        pair = Pair(self._folder / f"{stem}.crt", self._folder / f"{stem}.key", certificate)
        pair.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encryption = (
            serialization.BestAvailableEncryption(password.encode())
            if password
            else serialization.NoEncryption()
        )
        pair.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        pair.key.chmod(0o600)
        return pair

    def revoke(self, *pairs: Pair) -> bytes:
        """Return a list (PEM) of these as revoked, to be put behind the authority's own certificate."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._subject)
        builder = builder.last_update(_now() - DAY).next_update(_now() + DAY)
        for pair in pairs:
            revoked = x509.RevokedCertificateBuilder().serial_number(pair.certificate.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(_now() - DAY).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    begin: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found
