"""Every dialogue of this folder, whole, by line and byte by byte, through the pure session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.transcript import SPLITS, PureRun, Transcript, load

HERE = Path(__file__).parent
TRANSCRIPTS = [load(path) for path in sorted(HERE.glob("*/*.t"))]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=[str(t.path.relative_to(HERE)) for t in TRANSCRIPTS])
def test_transcript(transcript: Transcript, split: str) -> None:
    if split == "whole" or transcript.is_set("split", True):
        PureRun(transcript, split).run()


def test_there_are_dialogues_for_both_protocols() -> None:
    assert len(TRANSCRIPTS) >= 70
    assert {t.settings["protocol"] for t in TRANSCRIPTS} == {"imap", "pop3"}
