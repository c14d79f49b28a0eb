"""What imaplib and poplib lack: SASL over POP3, DIGEST-MD5, and a message of a given size."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import imaplib
import poplib
import re
import secrets

from tests.harness.proxy import HOST, Proxy

TIMEOUT_S = 30.0
poplib._MAXLINE = 4096  # type: ignore[attr-defined]


def imap(proxy: Proxy) -> imaplib.IMAP4:
    """Connect; the caller logs out."""
    return imaplib.IMAP4(HOST, proxy.imap_port, timeout=TIMEOUT_S)


def pop3(proxy: Proxy) -> poplib.POP3:
    """Connect; the caller quits."""
    return poplib.POP3(HOST, proxy.pop3_port, timeout=TIMEOUT_S)


def leave(client: imaplib.IMAP4) -> None:
    """Log out, or only close what is broken or closed already."""
    try:
        client.logout()
    except (imaplib.IMAP4.error, OSError):
        with contextlib.suppress(OSError):
            client.shutdown()


def plain(user: str, password: str) -> bytes:
    """Return the message of SASL PLAIN (RFC 4616)."""
    return f"\0{user}\0{password}".encode()


def digest_md5(challenge: bytes, user: str, password: str, service: str) -> bytes:
    """Answer the challenge of DIGEST-MD5 (RFC 2831), qop auth; empty to the server's final word."""
    if challenge.startswith(b"rspauth="):
        return b""
    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', challenge.decode()))
    realm, nonce, cnonce, uri = fields.get("realm", ""), fields["nonce"], secrets.token_hex(8), f"{service}/x"
    start = hashlib.md5(f"{user}:{realm}:{password}".encode()).digest()
    a1 = hashlib.md5(start + f":{nonce}:{cnonce}".encode()).hexdigest()
    a2 = hashlib.md5(f"AUTHENTICATE:{uri}".encode()).hexdigest()
    response = hashlib.md5(f"{a1}:{nonce}:00000001:{cnonce}:auth:{a2}".encode()).hexdigest()
    return (
        f'username="{user}",realm="{realm}",nonce="{nonce}",cnonce="{cnonce}",nc=00000001,'
        f'qop=auth,digest-uri="{uri}",response={response},charset=utf-8'
    ).encode()


def pop3_plain(client: poplib.POP3, user: str, password: str) -> bytes:
    """Log in by AUTH PLAIN with an initial response."""
    return client._shortcmd("AUTH PLAIN " + base64.b64encode(plain(user, password)).decode())  # type: ignore[attr-defined, no-any-return]


def big_message(size_bytes: int) -> bytes:
    """Return a message of about that size, whose body nobody can have guessed."""
    head = b"From: sender@example.org\r\nSubject: big\r\n\r\n"
    count = (size_bytes - len(head)) // 78
    body = base64.b64encode(secrets.token_bytes(count * 57))
    lines = [body[at : at + 76] + b"\r\n" for at in range(0, len(body), 76)]
    return head + b"".join(lines)
