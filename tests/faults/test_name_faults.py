"""Rows C11, C12, C13, C16 and C17 without master logins: names and passwords that are nobody's business."""

from __future__ import annotations

import re

from tests.harness.arena import Arena
from tests.harness.attempts import BEGIN, FAILED, PROTOCOLS, check_refused, literals, replies, sasl
from tests.harness.oracles import Oracles
from tests.harness.raw_client import b64, plain
from tests.harness.wait import wait_until

MASTERS = ["victim*proxy", "*proxy", "john*", "a*b*c", "*"]


def test_separator_without_master_logins(arena: Arena) -> None:
    """C11: a client's `*` is refused, even if the table knew such a name."""
    for name in MASTERS:
        arena.add(name, None)
    check_refused(arena, lambda protocol: [sasl(protocol, name.encode(), b"word") for name in MASTERS])


def test_another_authorization_identity(arena: Arena) -> None:
    """C12: neither of the two is logged in, whatever passwords both have."""
    arena.add("victim", None)
    identities = [(b"john", b"victim"), (b"victim", b"john"), (b"john", b"JOHN"), (b"john", b" ")]
    check_refused(
        arena, lambda protocol: [sasl(protocol, user, b"word", other) for user, other in identities]
    )


LOOKALIKES = [
    "\u212aate",  # Kelvin sign
    "k\u0131te",  # dotless i
    "\u017fam",  # long s
    "\uff4bate",  # full width
    "ka\u0301te",  # decomposed
    "kate ",
    "kate\u200b",
    "kate\x7f",
]


def test_lookalikes(arena: Arena) -> None:
    """C13: outside the allowed set a name fails, though the table has it and what it resembles."""
    for name in ("kate", "kite", "sam", "k\u00e1te", *LOOKALIKES):
        arena.add(name, None)
    check_refused(arena, lambda protocol: [sasl(protocol, name.encode(), b"word") for name in LOOKALIKES])


def spoilt_logins(protocol: str) -> list[bytes]:
    """Return logins that go wrong, each with a secret of its own, `Sekret-<number>-word`."""
    if protocol == "imap":
        forms = [
            b"a1 LOGIN mary %s\r\n",
            b'a1 LOGIN "mary" "%s"\r\n',
            b"a1 LOGIN mary %s more\r\n",
            b'a1 LOGIN mary "%s\r\n',
            b"a1 LOGIN mary%s\r\n",
            b"a1 LOGINN mary %s\r\n",
            b"a1 FETCH %s\r\n",
            b"a1 NOOP %s\r\n",
            b"a1 LOGIN mary %s" + b"x" * 9000 + b"\r\n",
            b"a1 AUTHENTICATEE PLAIN %b\r\n",
            b"a1 AUTHENTICATE PLAIN %b more\r\n",
            b"a1 AUTHENTICATE PLAIN !%b\r\n",
            b"a1 AUTHENTICATE NOSUCH %b\r\n",
            b"a1 AUTHENTICATE CRAM-MD5 %b\r\n",
            b"a1 AUTHENTICATE PLAIN\r\n%b\r\n",
            b"a1 AUTHENTICATE LOGIN\r\nbWFyeQ==\r\n%b\r\n",
            b"a1 AUTHENTICATE CRAM-MD5\r\n%b\r\n",
            b"a1 AUTHENTICATE PLAIN\r\n%s\r\n",
        ]
    else:
        forms = [
            b"PASS %s\r\n",
            b"USER mary\r\nPASS %s\r\n",
            b"USER mary\r\nPASSS %s\r\n",
            b"USER mary\r\nPASS%s\r\n",
            b"USER mary\r\nPASS %s" + b"x" * 9000 + b"\r\n",
            b"LOGIN mary %s\r\n",
            b"APOP mary %s\r\n",
            b"AUTH PLAIN %b more\r\n",
            b"AUTH PLAIN !%b\r\n",
            b"AUTH NOSUCH %b\r\n",
            b"AUTH PLAIN\r\n%b\r\n",
            b"AUTH LOGIN\r\nbWFyeQ==\r\n%b\r\n",
            b"AUTH CRAM-MD5\r\n%b\r\n",
            b"AUTH PLAIN\r\n%s\r\n",
        ]
    logins = []
    for number, form in enumerate(forms):
        word = secret(number)
        message = b64(word) if b"LOGIN\r\n" in form else plain(b"mary", word)
        logins.append(form.replace(b"%s", word).replace(b"%b", message))
    return logins


def secret(number: int) -> bytes:
    return b"Sekret-%d-word" % number


@PROTOCOLS
def test_no_password_in_the_log(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """C16: with auth_debug: wrong ones, over-long lines, misspelt commands, broken SASL."""
    logins = spoilt_logins(protocol)
    oracles.keep_secret(*(secret(number) for number in range(len(logins))))
    for login in logins:
        with arena.client(protocol) as client:
            client.send(login)
            # A client that has gone away is logged with all that is known of its attempts.
            client.half_close()
            client.rest()
    line = b"Info: %s-login: " % protocol.encode()
    wait_until("the ends are logged", lambda: oracles.log_since_begin().count(line) >= len(logins))


@PROTOCOLS
def test_exception_in_the_log(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """C16: a database whose answer makes no sense, and a backend that repeats the password."""
    oracles.keep_secret(b"Typed-Sekret-1", b"Stored-Sekret-2")
    name = f"odd-{protocol}"
    arena.add(name, "{NOSUCH}Stored-Sekret-2")
    answers = replies(arena, protocol, [sasl(protocol, name.encode(), b"Typed-Sekret-1")])
    assert answers != [FAILED[protocol]]
    wait_until("it is logged", lambda: b" Error: auth(default): " in oracles.log_since_begin())


FORGED = [
    b"x\n2026 FAKE login ok",
    b"x\r\nNov 22 00:00:00 Info: imap-login: Login: user=<root>",
    b"\x1b[2J\x1b]0;title\x07",
    b"\x9b31m\x85\xff",
    b"x\0Info: FAKE",
    "\u2028FAKE\u202e".encode(),
    b"%s%n%08x{0}",
    b"n" * 7000,
]


@PROTOCOLS
def test_forged_log_lines(arena: Arena, protocol: str, oracles: Oracles) -> None:
    """C17: escaped, cut short, one line each; S5 looks at every line."""
    attempts = [BEGIN[protocol] + b64(b"\0" + name + b"\0word") + b"\r\n" for name in FORGED]
    if protocol == "imap":
        attempts += [literals(name, b"word") for name in FORGED[:-1] if b"\0" not in name]
    for attempt in attempts:
        with arena.client(protocol) as client:
            client.send(attempt)
            client.half_close()
            client.rest()
    line = re.compile(rb"Info: %s-login: [^\n]*rip=" % protocol.encode())
    wait_until("the ends are logged", lambda: len(line.findall(oracles.log_since_begin())) >= len(attempts))
    log = oracles.log_since_begin()
    assert b"n" * 129 not in log
    assert re.search(rb"^(?!dovecot: )", log.rstrip(b"\n"), re.MULTILINE) is None
