"""SASL exchanges without databases."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from mailproxy.auth.mechanisms.claim import Claim, Context, Exchange
from mailproxy.auth.mechanisms.registry import OFFERS
from mailproxy.auth.schemes import Verdict, parse_stored

CONTEXT = Context(b"mail.example.com", (), 0x12AB, 7, 0x5000)


def begin(name: str, context: Context = CONTEXT) -> Exchange:
    return OFFERS[name].begin(context)


def claim_of(exchange: Exchange, response: bytes) -> Claim:
    claim = exchange.respond(response)
    assert isinstance(claim, Claim)
    return claim


def verdict_of(claim: Claim, stored: bytes) -> Verdict | None:
    assert claim.proof is not None
    assert claim.password is None
    return claim.proof.verify(parse_stored(stored, "PLAIN"))


def test_plain() -> None:
    assert begin("PLAIN").respond(None) == b""
    assert begin("PLAIN").respond(b"\0john\0s") == Claim(b"john", b"", b"s", None)
    assert begin("PLAIN").respond(b"john\0john\0s") == Claim(b"john", b"", b"s", None)
    assert begin("PLAIN").respond(b"victim\0john\0s") == Claim(b"john", b"victim", b"s", None)
    assert begin("PLAIN").respond(b"\0j\xff\0\xfes") == Claim(b"j\xff", b"", b"\xfes", None)


@pytest.mark.parametrize(
    "response", [b"", b"john", b"\0john", b"\0john\0s\0", b"\0john\0s\0x", b"\0a\0b\0c\0d"]
)
def test_plain_wants_exactly_two_nuls(response: bytes) -> None:
    """C05: none, one, three, four; never cut."""
    assert begin("PLAIN").respond(response) is None


def test_login() -> None:
    exchange = begin("LOGIN")
    assert exchange.respond(None) == b"Username:"
    assert exchange.respond(b"john") == b"Password:"
    assert exchange.respond(b"s") == Claim(b"john", b"", b"s", None)
    initial = begin("LOGIN")
    assert initial.respond(b"john") == b"Password:"
    assert initial.respond(b"") == Claim(b"john", b"", b"", None)
    assert begin("LOGIN").respond(b"a\0b") is None


def test_login_with_an_empty_name_reaches_the_name_rules() -> None:
    """C09: an empty name is not an endless prompt."""
    exchange = begin("LOGIN")
    exchange.respond(b"")
    assert exchange.respond(b"") == b"Password:"
    assert exchange.respond(b"s") == Claim(b"", b"", b"s", None)


@pytest.mark.parametrize(
    "stored", [b"{PLAIN}test", b"{CRAM-MD5}e02d374fde0dc75a17a557039a3a5338c7743304777dccd376f332bee68d2cf6"]
)
def test_cram_md5(stored: bytes) -> None:
    exchange = begin("CRAM-MD5")
    challenge = exchange.respond(None)
    assert isinstance(challenge, bytes)
    assert challenge.endswith(b"@mail.example.com>")
    answer = hmac.new(b"test", challenge, "md5").hexdigest().encode()
    claim = claim_of(exchange, b"john smith " + answer)
    assert claim.user == b"john smith"
    assert verdict_of(claim, stored) is Verdict.MATCH
    assert verdict_of(claim, b"{PLAIN}other") is Verdict.MISMATCH
    assert verdict_of(claim, b"{PLAIN-MD5}00") is None
    assert verdict_of(claim, b"{CRAM-MD5}zz") is Verdict.UNUSABLE


@pytest.mark.parametrize("response", [b"", b"john", b"john zz", b"john " + b"a" * 31, b"john " + b"a" * 34])
def test_cram_md5_rubbish(response: bytes) -> None:
    exchange = begin("CRAM-MD5")
    exchange.respond(None)
    assert exchange.respond(response) is None


def test_challenges_differ() -> None:
    assert begin("CRAM-MD5").respond(None) != begin("CRAM-MD5").respond(None)
    assert begin("DIGEST-MD5").respond(None) != begin("DIGEST-MD5").respond(None)


def apop(challenge: bytes, password: bytes = b"s") -> bytes:
    return challenge + b"\0john\0" + hashlib.md5(challenge + password).digest()


def test_apop() -> None:
    claim = claim_of(begin("APOP"), apop(b"<12ab.7.5001.cmFuZG9t@mail>"))
    assert claim.user == b"john"
    assert verdict_of(claim, b"s") is Verdict.MATCH
    assert verdict_of(claim, b"t") is Verdict.MISMATCH
    assert verdict_of(claim, b"{PLAIN-MD5}x") is None


@pytest.mark.parametrize(
    "challenge",
    [
        b"<12ac.7.5001.x@m>",
        b"<12ab.8.5001.x@m>",
        b"<12ab.7.4fff.x@m>",
        b"<12ab.7.zz.x@m>",
        b"<12ab.7>",
        b"12ab.7.5001.x@m",
        b"",
    ],
)
def test_apop_challenge_of_another_connection(challenge: bytes) -> None:
    """F17: what was made by another process, for another connection or before the start is refused."""
    assert begin("APOP").respond(apop(challenge)) is None


def test_apop_rubbish() -> None:
    assert begin("APOP").respond(None) is None
    assert begin("APOP").respond(b"<12ab.7.5001.x@m>\0john\0short") is None


def digest(challenge: bytes, user: bytes, realm: bytes, password: bytes, /, **changes: bytes) -> bytes:
    """RFC 2831's client, written from the text: the response for `auth`."""
    nonce = challenge.split(b'nonce="')[1].split(b'"')[0]
    cnonce, uri = b"OA6MHXh6VqTrRk", b"imap/mail.example.com"
    start = hashlib.md5(user + b":" + realm + b":" + password).digest() + b":" + nonce + b":" + cnonce
    ha1 = hashlib.md5(start).hexdigest().encode()
    ha2 = hashlib.md5(b"AUTHENTICATE:" + uri).hexdigest().encode()
    all_of_it = b":".join([ha1, nonce, b"00000001", cnonce, b"auth", ha2])
    fields = {
        b"charset": b"utf-8",
        b"username": b'"' + user + b'"',
        b"realm": b'"' + realm + b'"',
        b"nonce": b'"' + nonce + b'"',
        b"nc": b"00000001",
        b"cnonce": b'"' + cnonce + b'"',
        b"digest-uri": b'"' + uri + b'"',
        b"response": hashlib.md5(all_of_it).hexdigest().encode(),
        b"qop": b"auth",
    }
    fields |= {name.replace("_", "-").encode(): value for name, value in changes.items()}
    return b", ".join(name + b"=" + value for name, value in fields.items())


def test_digest_md5() -> None:
    """RFC 2831, with and without a realm, plain and precomputed; rspauth is the last challenge."""
    context = CONTEXT._replace(realms=(b"example.com", b"other"))
    exchange = begin("DIGEST-MD5", context)
    challenge = exchange.respond(None)
    assert isinstance(challenge, bytes)
    assert challenge.startswith(b'realm="example.com",realm="other",nonce="')
    claim = claim_of(exchange, digest(challenge, b"john", b"example.com", b"secret 1"))
    assert claim.user == b"john@example.com"
    assert verdict_of(claim, b"wrong") is Verdict.MISMATCH
    assert verdict_of(claim, b"{DIGEST-MD5}e033cd8f7baabf0e5491e90838b766d9") is Verdict.MATCH
    assert verdict_of(claim, b"{DIGEST-MD5}zz") is Verdict.UNUSABLE
    assert verdict_of(claim, b"{CRYPT}x") is None
    assert verdict_of(claim, b"secret 1") is Verdict.MATCH
    assert claim.proof is not None
    assert claim.proof.final_challenge().startswith(b"rspauth=")


def test_digest_md5_example_of_the_rfc() -> None:
    """RFC 2831 section 4: the numbers of the IMAP example, response and rspauth."""
    exchange = begin("DIGEST-MD5", CONTEXT._replace(realms=(b"elwood.innosoft.com",)))
    exchange.respond(None)
    vars(type(exchange))["_nonce"].__set__(exchange, b"OA6MG9tEQGm2hh")
    claim = claim_of(
        exchange,
        b'charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",nc=00000001,'
        b'cnonce="OA6MHXh6VqTrRk",digest-uri="imap/elwood.innosoft.com",'
        b"response=d388dad90d4bbd760a152321f2143af7,qop=auth",
    )
    assert verdict_of(claim, b"secret") is Verdict.MATCH
    assert claim.proof is not None
    assert claim.proof.final_challenge() == b"rspauth=ea40f60335c427b5527b84dbabcdfffd"


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": b'"other"'},
        {"nc": b"00000002"},
        {"qop": b"auth-int"},
        {"authzid": b'"victim"'},
        {"response": b"short"},
        {"username": b'""'},
        {"cnonce": b'""'},
        {"realm": b'"unknown"'},
        {"digest_uri": b'"imap"'},
        {"charset": b'"'},
    ],
)
def test_digest_md5_refusals(changes: dict[str, bytes]) -> None:
    """C12: an authorization identity is refused, as is a replayed nonce."""
    exchange = begin("DIGEST-MD5")
    challenge = exchange.respond(None)
    assert isinstance(challenge, bytes)
    assert exchange.respond(digest(challenge, b"john", b"", b"s", **changes)) is None


def test_digest_md5_twice_the_same_directive() -> None:
    exchange = begin("DIGEST-MD5")
    challenge = exchange.respond(None)
    assert isinstance(challenge, bytes)
    assert exchange.respond(digest(challenge, b"john", b"", b"s") + b',username="other"') is None


def test_announcements() -> None:
    flags = {name: sorted(offer.announced.flags) for name, offer in OFFERS.items()}
    assert flags["PLAIN"] == flags["LOGIN"] == [b"plaintext"]
    assert flags["APOP"] == [b"active", b"dictionary", b"private"]
    assert flags["DIGEST-MD5"] == [b"active", b"dictionary", b"mutual-auth"]


TOKEN = b"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg=="


def test_xoauth2() -> None:
    message = b"user=john@example.com\x01auth=Bearer " + TOKEN + b"\x01\x01"
    assert begin("XOAUTH2").respond(None) == b""
    assert begin("XOAUTH2").respond(message) == Claim(b"john@example.com", b"", None, None, TOKEN)


@pytest.mark.parametrize(
    ("header", "user"),
    [
        (b"n,a=john@example.com,", b"john@example.com"),
        (b"y,a=j=2Cohn=3D,", b"j,ohn="),
    ],
)
def test_oauthbearer(header: bytes, user: bytes) -> None:
    """RFC 7628: the header's name with its two escapes; host and port are of no use here."""
    message = header + b"\x01host=imap.example.com\x01port=143\x01auth=bearer " + TOKEN + b"\x01\x01"
    assert begin("OAUTHBEARER").respond(None) == b""
    assert begin("OAUTHBEARER").respond(message) == Claim(user, b"", None, None, TOKEN)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("XOAUTH2", b""),
        ("XOAUTH2", b"user=john\x01auth=Bearer t\x01"),
        ("XOAUTH2", b"user=john\x01\x01"),
        ("XOAUTH2", b"auth=Bearer t\x01\x01"),
        ("XOAUTH2", b"user=john\x01user=jane\x01auth=Bearer t\x01\x01"),
        ("XOAUTH2", b"user=john\x01auth=Basic t\x01\x01"),
        ("XOAUTH2", b"user=john\x01auth=Bearer t\r\nx\x01\x01"),
        ("XOAUTH2", b"user=john\x01auth=Bearer \x01\x01"),
        ("XOAUTH2", b"user=john\x01auth=Bearer t t\x01\x01"),
        ("OAUTHBEARER", b""),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer t\x01\x01"),
        ("OAUTHBEARER", b"n,a=,\x01auth=Bearer t\x01\x01"),
        ("OAUTHBEARER", b"n,john,\x01auth=Bearer t\x01\x01"),
        ("OAUTHBEARER", b"p=tls,a=john,\x01auth=Bearer t\x01\x01"),
        ("OAUTHBEARER", b"n,a=j=2cohn,\x01auth=Bearer t\x01\x01"),
        ("OAUTHBEARER", b"n,a=john,x\x01auth=Bearer t\x01\x01"),
        ("OAUTHBEARER", b"n,a=john,auth=Bearer t\x01\x01"),
        ("OAUTHBEARER", b"\x01"),
    ],
)
def test_tokens_in_messages_that_are_none(name: str, message: bytes) -> None:
    assert begin(name).respond(message) is None


def test_token_has_no_repr() -> None:
    """C16."""
    assert "secret" not in repr(Claim(b"john", b"", None, None, b"secret"))
