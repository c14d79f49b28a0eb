"""Packets by which a version hands over to the next one."""

from __future__ import annotations

import contextlib
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.base.errors import PeerViolation
from mailproxy.ipc import handover
from mailproxy.ipc.handover import HandedRelay, parse_relay, parse_word, render_relay, render_word, text_list
from mailproxy.net.direction import WayState
from mailproxy.net.fd_passing import close_all, receive_packet, send_packet
from mailproxy.net.relay import RelayState
from mailproxy.process.relay_passing import parse_state, render_state

FACTS = st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.booleans()), max_size=4)
RELAYS = st.builds(HandedRelay, FACTS, FACTS, FACTS, st.binary(max_size=200), st.binary(max_size=200))


@given(RELAYS)
def test_relays_round_trip(relay: HandedRelay) -> None:
    assert parse_relay(render_relay(relay)) == relay


@given(st.binary(max_size=200))
def test_any_packet_is_read_or_refused(packet: bytes) -> None:
    """V14: what a captured worker writes does no harm."""
    with contextlib.suppress(PeerViolation):
        parse_relay(packet)
    with contextlib.suppress(PeerViolation):
        parse_word(packet)


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    packet = render_relay(HandedRelay({}, {}, {}, b"", b""))
    monkeypatch.setattr(handover, "RELAY_VERSION", handover.RELAY_VERSION + 1)
    with pytest.raises(PeerViolation):
        parse_relay(packet)
    word = render_word("ready")
    monkeypatch.setattr(handover, "_MASTERS_VERSION", 0)
    with pytest.raises(PeerViolation):
        parse_word(word)


@given(st.lists(st.text(max_size=20), max_size=4))
def test_words_round_trip(problems: list[str]) -> None:
    word, facts = parse_word(render_word("refused", problems=problems))
    assert (word, text_list(facts, "problems")) == ("refused", problems)
    with pytest.raises(PeerViolation):
        text_list(facts, "protocols")


def test_a_state_and_what_a_later_version_adds() -> None:
    """Unknown facts are left out, and absent ones have their first value."""
    up = WayState(b"waits", 0, 7, True, True, False, False, False, True)
    state = RelayState(up, WayState(held_bytes=9), (3, 4, 5, 6))
    info = {"user": "joe", "later": 1}
    assert parse_state(render_state(state, info), [3, 4, 5, 6]) == (state, info)
    later = HandedRelay({}, {"news": 1, "total_bytes": 5}, {}, b"", b"")
    assert parse_state(render_relay(later), [3, 4])[0].up == WayState(total_bytes=5)


@pytest.mark.parametrize("fds", [[], [3], [3, 4, 5]])
def test_descriptors_have_to_be_those_of_the_state(fds: list[int]) -> None:
    state = RelayState(WayState(), WayState(), (3, 4))
    with pytest.raises(PeerViolation):
        parse_state(render_state(state, {}), fds)


def test_descriptors_go_along() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        read_fd, write_fd = os.pipe()
        send_packet(ours, b"word", [read_fd, write_fd])
        close_all([read_fd, write_fd])
        data, fds = receive_packet(theirs, 100)
        assert data == b"word"
        assert not any(os.get_inheritable(fd) for fd in fds)
        os.write(fds[1], b"x")
        assert os.read(fds[0], 1) == b"x"
        close_all(fds)
        send_packet(ours, b"long", [ours.fileno()])
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ValueError, match="cut off"):
            receive_packet(theirs, 2)
        assert len(os.listdir("/proc/self/fd")) == before
        ours.close()
        assert receive_packet(theirs, 100) == (b"", [])
