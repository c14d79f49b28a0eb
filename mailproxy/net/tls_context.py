"""TLS towards clients and backends: contexts from settings, and what is wrong with their files.

A context is built once in the master and reaches every worker by fork, so that they all accept each other's
session tickets and none opens a file. Certificates without a revocation list in `ssl_ca_file` are not looked
up anywhere. Unlike in Dovecot 1.0 a client certificate that is not valid ends the handshake: the library has
no way to accept it and tell.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from mailproxy.base.errors import ConfigError, Problem
from mailproxy.base.text import printable
from mailproxy.config.settings import LocalName, TlsSettings
from mailproxy.net import certificate

WARNED_BEFORE_END = timedelta(days=30)

# Of TLS 1.2, and only with forward secrecy; those of TLS 1.3 are all good and not in such lists.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
_NEVER = "!aNULL:!eNULL:!EXPORT:!LOW:!RC4:!3DES:!DES:!MD5:!IDEA:!SEED:!RC2:!PSK:!SRP:!aDSS:@SECLEVEL=2"
# Files with more are the distribution's, and kept up to date by it.
_OWN_AUTHORITIES = 10
# A peer that leaves without close_notify has ended, as far as mail protocols know.
_OPTIONS = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_IGNORE_UNEXPECTED_EOF
_MIN_VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
_REVOCATION_LIST = "-----BEGIN X509 CRL-----"
# What the library says when the certificate is at fault and not the key.
_CERTIFICATE_REASONS = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")
_MISMATCH_REASONS = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")

Pair = TlsSettings | LocalName
_SniCallback = Callable[[ssl.SSLObject, str, ssl.SSLContext], int | None]


def server_context(settings: TlsSettings, alpn: Sequence[str] = ("imap", "pop3")) -> ssl.SSLContext:
    """Return the context for clients, which hands over to those of `local_names` by itself.

    Raises ConfigError with every file that cannot be used.
    """
    problems: list[Problem] = []
    contexts: list[ssl.SSLContext] = []
    for pair in _pairs(settings):
        try:
            contexts.append(_context(settings, pair, alpn))
        except ValueError as error:
            problems.append(Problem(str(error)))
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    default, *others = contexts
    if others:
        default.sni_callback = _by_name(settings.local_names, others)
    return default


class TlsContexts(NamedTuple):
    """What TLS to a backend is made with: whether its name counts is the row's decision."""

    verifying: ssl.SSLContext
    trusting: ssl.SSLContext


def backend_contexts(ca_file: str) -> TlsContexts:
    """Return the contexts for backends; the verifying one believes nobody without a `ca_file`.

    Raises ConfigError when the file cannot be used.
    """
    verifying, trusting = _backend_context(), _backend_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    if ca_file:
        try:
            _load_authorities(verifying, ca_file)
        except ValueError as error:
            raise ConfigError([Problem(f"ssl_client_ca_file: {error}")]) from None
    return TlsContexts(verifying, trusting)


def why_refused(error: ssl.SSLCertVerificationError, contexts: TlsContexts | None) -> str:
    """Say for the log why a backend's certificate does not pass, and what is missing on our side."""
    text = f"the certificate is not accepted: {error.verify_message}"
    if contexts is None or contexts.verifying.cert_store_stats()["x509"]:
        return text
    return f"{text}: no certificate passes while ssl_client_ca_file is not set"


def forgive_odd_names(unraisable: sys.UnraisableHookArgs) -> None:
    """Be the `sys.unraisablehook` of all processes: a client's name that is not ASCII is worth no traceback.

    The library fails that handshake itself, and then leaves its own exception to the hook.
    """
    if not (unraisable.exc_type is UnicodeDecodeError and isinstance(unraisable.object, bytes)):
        sys.__unraisablehook__(unraisable)


def files(settings: TlsSettings) -> Iterator[str]:
    """Return every file that the context is made from."""
    for pair in _pairs(settings):
        yield from (pair.ssl_cert_file, pair.ssl_key_file)
    if settings.ssl_verify_client_cert and settings.ssl_ca_file:
        yield settings.ssl_ca_file


def certificate_ends(settings: TlsSettings) -> dict[str, datetime]:
    """Return when the first certificate of each file ends; a file that cannot be read is left out."""
    found = {}
    for pair in _pairs(settings):
        try:
            found[pair.ssl_cert_file] = min(certificate.ends(_read(pair.ssl_cert_file)))
        except (OSError, ValueError):
            continue
    return found


def authority_ends(ca_file: str) -> dict[str, datetime]:
    """Return when the first authority of a file ends; nothing if it has many, as one always does soon."""
    try:
        found = certificate.ends(_read(ca_file))
    except (OSError, ValueError):
        return {}
    return {ca_file: min(found)} if 0 < len(found) <= _OWN_AUTHORITIES else {}


def authority_warnings(ca_file: str, now: datetime) -> list[str]:
    """Return a line if an authority of a file has ended at `now` (UTC) or will in 30 days."""
    lines = []
    for file, end in authority_ends(ca_file).items():
        if end <= now + WARNED_BEFORE_END:
            when = f"ended on {end.date()}" if end <= now else f"ends on {end.date()}"
            lines.append(f"SSL CA file {printable(file)}: an authority {when}")
    return lines


def certificate_warnings(settings: TlsSettings, now: datetime) -> list[str]:
    """Return a line for each file with a certificate that has ended at `now` (UTC) or will in 30 days."""
    lines = []
    for file, end in certificate_ends(settings).items():
        if end <= now:
            lines.append(f"SSL certificate {printable(file)} ended on {end.date()}: clients refuse it")
        elif end <= now + WARNED_BEFORE_END:
            left = f"{end.date()}, in {(end - now).days} days"
            lines.append(f"SSL certificate {printable(file)} ends on {left}: replace it")
    return lines


def _pairs(settings: TlsSettings) -> tuple[Pair, ...]:
    return settings, *settings.local_names


def _by_name(local_names: Sequence[LocalName], contexts: Sequence[ssl.SSLContext]) -> _SniCallback:
    """Choose by name without keeping it: strangers may send any number of names."""
    exact: dict[str, ssl.SSLContext] = {}
    below: dict[str, ssl.SSLContext] = {}
    for block, context in zip(local_names, contexts, strict=True):
        for name in block.names:
            if name.startswith("*."):
                below[name[2:]] = context
            else:
                exact[name] = context

    def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name is not None:
            name = name.lower()
            found = exact.get(name) or below.get(name.partition(".")[2])
            if found is not None:
                connection.context = found

    return choose


def _context(settings: TlsSettings, pair: Pair, alpn: Sequence[str]) -> ssl.SSLContext:
    """Make one context. Raises ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _MIN_VERSIONS[settings.ssl_min_protocol]
    context.options |= _OPTIONS | ssl.OP_CIPHER_SERVER_PREFERENCE
    # A ticket costs 12 us, and who comes back with it gets the next: the library's second is for nobody.
    context.num_tickets = 1
    context.set_alpn_protocols(list(alpn))
    try:
        context.set_ciphers(f"{settings.ssl_cipher_list or _CIPHERS}:{_NEVER}")
    except ssl.SSLError:
        text = f"ssl_cipher_list: no cipher is left of {printable(settings.ssl_cipher_list)}"
        raise ValueError(f"{text}; leave it empty for good ones") from None
    _load_pair(context, pair)
    if settings.ssl_verify_client_cert and settings.ssl_ca_file:
        _load_authorities(context, settings.ssl_ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _backend_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS
    context.set_ciphers(f"{_CIPHERS}:{_NEVER}")
    return context


def _load_pair(context: ssl.SSLContext, pair: Pair) -> None:
    cert, key = printable(pair.ssl_cert_file), printable(pair.ssl_key_file)
    was_asked = False

    def password() -> bytes:
        nonlocal was_asked
        was_asked = True
        return pair.ssl_key_password.encode("utf-8", "surrogateescape")

    _check_certificates(pair.ssl_cert_file, "certificate")
    _check_readable(pair.ssl_key_file)
    try:
        context.load_cert_chain(pair.ssl_cert_file, pair.ssl_key_file, password)
    except ssl.SSLError as error:
        if error.reason in _CERTIFICATE_REASONS:
            text = f"Can't use SSL certificate {cert}: {_words(error)}: have it made with a longer key"
        elif error.reason in _MISMATCH_REASONS:
            text = f"SSL key file {key} does not fit certificate {cert}: both must be from one request"
        elif was_asked and pair.ssl_key_password:
            text = f"Can't open SSL key file {key}: ssl_key_password is wrong"
        elif was_asked:
            text = f"Can't open SSL key file {key}: it is encrypted, set ssl_key_password"
        else:
            text = f"Can't use SSL key file {key}: it holds no private key in PEM form"
        raise ValueError(text) from None
    except ValueError as error:
        raise ValueError(f"Can't open SSL key file {key}: {error}") from None
    except OSError as error:
        raise ValueError(f"Can't use SSL certificate {cert} or key {key}: {error.strerror}") from None


def _load_authorities(context: ssl.SSLContext, ca_file: str) -> None:
    """Believe the certificates of a file. Raises ValueError."""
    _check_certificates(ca_file, "CA file")
    context.load_verify_locations(cafile=ca_file)
    if _REVOCATION_LIST in _read(ca_file):
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _check_certificates(file: str, what: str) -> None:
    """Make sure that a file holds certificates, and nothing broken. Raises ValueError with its name."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except ssl.SSLError:
        text = f"Can't use SSL {what} {printable(file)}"
        raise ValueError(f"{text}: it holds no certificate in PEM form, or a broken one") from None
    except OSError as error:
        raise ValueError(f"Can't use SSL {what} {printable(file)}: {error.strerror}") from None


def _check_readable(key_file: str) -> None:
    try:
        with open(key_file, "rb"):
            pass
    except OSError as error:
        raise ValueError(f"Can't use SSL key file {printable(key_file)}: {error.strerror}") from None


def _read(file: str) -> str:
    with open(file, encoding="latin-1") as opened:
        return opened.read()


def _words(error: ssl.SSLError) -> str:
    return (error.reason or "unknown reason").lower().replace("_", " ")
