"""Tests of mailproxy.process.rehearsal."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from types import CodeType, FrameType

import pytest

from mailproxy.config.load import load
from mailproxy.config.settings import LoginSettings
from mailproxy.process.login import Worker
from mailproxy.process.rehearsal import rehearse
from mailproxy.session.session import Session

CONFIGURATION = """
protocols = imap pop3
base_dir = {path}/run
login_process_per_connection = yes
login_source_ips = 192.0.2.1
haproxy_trusted_networks = 192.0.2.0/24
verbose_proctitle = yes
ssl_disable = yes
auth default {{
  mechanisms = cram-md5
  passdb static {{
    args = proxy=y host=192.0.2.2 password=none
  }}
  userdb static {{
    args = uid=0 gid=0
  }}
}}
"""


@pytest.fixture(params=[0, 1])
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> LoginSettings:
    """One protocol's."""
    configuration = tmp_path / "dovecot.conf"
    configuration.write_text(CONFIGURATION.format(path=tmp_path))
    number: int = request.param
    return load(str(configuration)).logins[number]


def calls_in_a_rehearsal(settings: LoginSettings) -> list[CodeType]:
    calls: list[CodeType] = []

    def note(frame: FrameType, what: str, _argument: object) -> None:
        if what == "call":
            calls.append(frame.f_code)

    sys.setprofile(note)
    try:
        rehearse(settings)
    finally:
        sys.setprofile(None)
    return calls


def test_whole_logins_are_played_and_nothing_is_left(settings: LoginSettings) -> None:
    """However the clients of the protocol log in: with TLS, with a header or without a plain password."""
    before = os.listdir("/proc/self/fd")
    calls = calls_in_a_rehearsal(settings)
    assert calls.count(Worker.session_became_relay.__code__) == 10
    assert calls.count(Worker.relay_ended.__code__) == 10
    assert os.listdir("/proc/self/fd") == before


# What is given up in the middle is closed by the collector, which warns of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stranger_who_comes_between_is_not_read(
    settings: LoginSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = socket.create_connection
    strangers: list[socket.socket] = []

    def come_second(place: tuple[str, int], timeout_s: float) -> socket.socket:
        strangers.append(connect(place, timeout_s))
        strangers[-1].sendall(b"x LOGIN joe secret\r\nUSER joe\r\n")
        return connect(place, timeout_s)

    monkeypatch.setattr(socket, "create_connection", come_second)
    calls = calls_in_a_rehearsal(settings)
    assert Worker._on_accept.__code__ in calls
    assert Session.on_client_data.__code__ not in calls
    assert len(strangers) == 1
    strangers[0].close()
