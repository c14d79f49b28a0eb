"""Every dialogue of this folder over real sockets: a real login worker between scripted parties.

The backend and auth are sockets of the test: a worker can use any auth that speaks the protocol. Dialogues
about time, or about what never happens on a socket, are left to the pure session (`sockets: no`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.folder import open_folder
from tests.harness.socket_run import SocketRun, can_play
from tests.harness.transcript import Transcript, load

HERE = Path(__file__).parent
TRANSCRIPTS = [t for t in map(load, sorted(HERE.glob("*/*.t"))) if can_play(t)]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=[str(t.path.relative_to(HERE)) for t in TRANSCRIPTS])
def test_transcript_over_sockets(transcript: Transcript) -> None:
    with open_folder("run") as folder, SocketRun(transcript, folder) as run:
        run.play()


def test_most_dialogues_are_about_sockets() -> None:
    assert len(TRANSCRIPTS) >= 150
