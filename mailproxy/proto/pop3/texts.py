"""What a POP3 client hears: Dovecot's words behind the response codes of RFC 2449 and RFC 3206."""

from __future__ import annotations

from mailproxy.proto.frontend import Refusal

REFUSALS = {
    Refusal.CREDENTIALS: b"-ERR [AUTH] ",
    Refusal.AUTHORIZATION: b"-ERR [AUTH] ",
    Refusal.EXPIRED: b"-ERR [AUTH] ",
    Refusal.DISABLED: b"-ERR [AUTH] ",
    Refusal.REASON: b"-ERR [AUTH] ",
    Refusal.TEMPORARY: b"-ERR [SYS/TEMP] ",
    Refusal.IN_USE: b"-ERR [IN-USE] ",
    Refusal.LIMIT: b"-ERR [IN-USE] ",
    Refusal.PERMANENT: b"-ERR [SYS/PERM] ",
    Refusal.PRIVACY: b"-ERR [AUTH] ",
    Refusal.UNSUPPORTED: b"-ERR ",
    Refusal.ABORTED: b"-ERR ",
    Refusal.ENCODING: b"-ERR ",
}

UNKNOWN_COMMAND = b"-ERR Unknown command.\r\n"
INVALID_CHARACTERS = b"-ERR Invalid characters in command.\r\n"
TOO_MANY_BAD = b"Too many bad commands."
TOO_MANY_BAD_REASON = "Too many bad commands"
INPUT_FULL = b"Input line too long, aborting"

PLAINTEXT_REFUSED = b"Plaintext authentication disallowed on non-secure connections."
NO_USER = b"-ERR No username given.\r\n"
BEGIN_TLS = b"+OK Begin TLS negotiation now.\r\n"
UPDATED = b"+OK Updated\r\n"
NOT_TRUSTED = b"-ERR You are not from trusted IP\r\n"
ARGUMENTS = b"-ERR Invalid parameters.\r\n"
NO_APOP = b"-ERR APOP not enabled.\r\n"
APOP_CHARACTERS = b"-ERR Invalid characters in MD5 response.\r\n"
