"""What an IMAP client hears: Dovecot's words behind the response codes of RFC 5530."""

from __future__ import annotations

from mailproxy.proto.frontend import Refusal

REFUSALS = {
    Refusal.CREDENTIALS: b"NO [AUTHENTICATIONFAILED] ",
    Refusal.AUTHORIZATION: b"NO [AUTHORIZATIONFAILED] ",
    Refusal.EXPIRED: b"NO [EXPIRED] ",
    Refusal.DISABLED: b"NO [CONTACTADMIN] ",
    Refusal.REASON: b"NO [ALERT] ",
    Refusal.TEMPORARY: b"NO [UNAVAILABLE] ",
    Refusal.IN_USE: b"NO [INUSE] ",
    Refusal.LIMIT: b"NO [LIMIT] ",
    Refusal.PERMANENT: b"NO [CONTACTADMIN] ",
    Refusal.PRIVACY: b"NO [PRIVACYREQUIRED] ",
    Refusal.UNSUPPORTED: b"NO ",
    Refusal.ABORTED: b"BAD ",
    Refusal.ENCODING: b"BAD ",
}

CONTINUE = b"+ OK\r\n"
BEGIN_TLS = b"Begin TLS negotiation now."
BAD_COMMAND = b"Error in IMAP command received by server."
BAD_ATOM = b"Invalid characters in atom"
EIGHT_BIT_ATOM = b"8bit data in atom"
MISSING_QUOTE = b"Missing '\"'"
BAD_LITERAL = b"Invalid literal size"
BAD_ID = b"Invalid ID parameters"
TOO_MANY_BAD = b"Too many invalid IMAP commands."
TOO_MANY_BAD_REASON = "Too many invalid commands"
INPUT_FULL = b"Input buffer full, aborting"
LITERAL_TOO_LARGE = b"Literal size too large"

PLAINTEXT_ALERT = (
    b"* BAD [ALERT] Plaintext authentication is disabled, but your client sent password in plaintext anyway. "
    b"If anyone was listening, the password was exposed.\r\n"
)
PLAINTEXT_REFUSED = b"Plaintext authentication disallowed on non-secure connections."
REFERRAL = b"Try this server instead."
