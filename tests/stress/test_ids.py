"""What nobody may guess or meet twice: session ids, challenges, and tags towards backends."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Sequence

from tests.harness.arena import Arena
from tests.harness.raw_client import RawClient
from tests.harness.wait import wait_until
from tests.process.conftest import MODES
from tests.stress.figures import Figures
from tests.stress.scale import Scale
from tests.stress.stage import WORKERS

AT_A_TIME = 20
APOP = re.compile(rb"<[0-9a-f]+\.(?P<worker>[0-9a-f]+)\.[0-9a-f]+\.(?P<chance>[0-9a-f]+)@.*>")
CRAM = re.compile(rb"<(\d{16})\.\d+@.*>")
SESSION = re.compile(r" pop3-login: .* session=(\w+)")
LOST = re.compile(r" pop3-login: (\d+) log lines were lost")
# Of 10,000 tags of 32 bits two are equal by chance once in 86 times; three pairs once in four million.
TAGS_ALIKE = 2


def crowd(port: int, count: int, words: bytes, lines: int) -> list[list[bytes]]:
    """Connect so often, several at a time, so that all workers have to serve; returns what each was told."""
    told = []
    for first in range(0, count, AT_A_TIME):
        with contextlib.ExitStack() as stack:
            clients = [
                stack.enter_context(RawClient(port, greet=False))
                for _ in range(min(AT_A_TIME, count - first))
            ]
            for client in clients:
                client.send(words)
            told += [client.lines(lines) for client in clients]
    return told


def groups(pattern: re.Pattern[bytes], texts: list[bytes]) -> list[re.Match[bytes]]:
    """Match each text, which has to match."""
    found = [pattern.search(text) for text in texts]
    assert None not in found, [text for text, match in zip(texts, found, strict=True) if match is None][:5]
    return [match for match in found if match is not None]


def repeated(words: Sequence[bytes | str]) -> int:
    return len(words) - len(set(words))


def session_ids(arena: Arena, count: int) -> list[str]:
    """Return those that were logged; a worker that could not log all of them has said so."""

    def are_all() -> list[str]:
        text = arena.proxy.log_text()
        found, lost = SESSION.findall(text), sum(map(int, LOST.findall(text)))
        return found if len(found) + lost >= count else []

    return wait_until("the session ids are logged", are_all)


def test_ids(mode: str, scale: Scale) -> None:
    """V15: of workers that were forked from the same memory none repeats what another has used."""
    count = scale.ids if mode == "shared" else scale.ids_own
    figures = Figures("ids", mode)
    settings = f"{MODES[mode]}\nlogin_processes_count = {WORKERS}\n"
    settings += "auth_debug = no\nlogin_log_format_elements = session=%{session}"
    with Arena(settings, mechanisms="plain apop cram-md5") as arena:
        told = crowd(arena.proxy.pop3_port, count, b"AUTH CRAM-MD5\r\n", 2)
        apop = groups(APOP, [banner for banner, _ in told])
        cram = groups(CRAM, [base64.b64decode(line.removeprefix(b"+ ")) for _, line in told])
        links = {match["worker"] for match in apop}
        wanted = WORKERS if mode == "shared" else count
        figures.note(
            f"workers that greeted, each with its own link to auth: {wanted:,}",
            f"{len(links):,}",
            len(links) == wanted,
        )
        sessions = session_ids(arena, count)
        for what, words, among in (
            ("APOP challenges", [match["chance"] for match in apop], count),
            ("CRAM-MD5 challenges", [match[1] for match in cram], count),
            ("session ids", sessions, len(sessions)),
        ):
            figures.note(f"{what} that repeat: 0", f"{repeated(words)} of {among:,}", not repeated(words))
        note_tags(arena, figures, scale.tags)
        figures.verify()


def note_tags(arena: Arena, figures: Figures, count: int) -> None:
    """Log in over IMAP so often, and look at what the backend was sent."""
    login = b"a1 LOGIN guest %s\r\n" % arena.GUEST
    told = crowd(arena.proxy.imap_port, count, login, 2)
    assert [reply for _, reply in told if not reply.startswith(b"a1 OK ")] == []
    tags = [bytes(peer.received).split(b" ")[0] for peer in arena.house_imap.wait_peers(count)]
    alike = repeated(tags)
    figures.note(
        f"tags that repeat: by chance, <= {TAGS_ALIKE}", f"{alike} of {count:,}", alike <= TAGS_ALIKE
    )
