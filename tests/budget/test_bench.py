"""The benchmark runs, on a very small scale."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bench.crowd import Client, Place
from bench.floor import start_prototype
from bench.sink import Sink
from bench.target import HOST
from tests.harness.proxy import CHECKOUT


def test_the_benchmark_measures_both_modes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--seconds", "0.1", "--sessions", "20", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    samples = json.loads((tmp_path / "bench.json").read_text())["samples"]
    scenes = {"IMAP login", "POP3 login", "round trip", "download", "upload", "idle session"}
    for target in ("mailproxy, shared", "mailproxy, own"):
        of_target = [sample for sample in samples if sample["target"] == target]
        assert {sample["scene"] for sample in of_target} == scenes
        for sample in of_target:
            assert sample["failures"] == 0, sample
            assert sample["units"] > 0, sample
    assert "| IMAP login | mailproxy, own |" in (tmp_path / "bench.md").read_text()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("has_process_each", [False, True])
def test_the_prototype_is_a_proxy(tmp_path: Path, has_process_each: bool) -> None:
    with contextlib.ExitStack() as stack:
        sink = Sink(1)
        stack.callback(sink.close)
        prototype = start_prototype(tmp_path / "prototype", sink, 2, has_process_each=has_process_each)
        stack.callback(prototype.close)
        client = stack.enter_context(socket.create_connection((HOST, prototype.imap_port), 10))
        said = stack.enter_context(client.makefile("rb"))
        assert said.readline() == b"* OK ready\r\n"
        for line, answer in (
            (b"a LOGIN bench1 any", b"a OK done\r\n"),
            (b"b NOOP", b"b OK done\r\n"),
            (b"c LOGOUT", b"* BYE\r\n"),
        ):
            client.sendall(line + b"\r\n")
            assert said.readline() == answer
        assert said.read() == b"c OK out\r\n"

        stranger = stack.enter_context(socket.create_connection((HOST, prototype.imap_port), 10))
        stranger.sendall(b"a LOGIN bench2 any\r\n")
        assert stranger.makefile("rb").read() == b"* OK ready\r\n"

        # The log is written in pieces: logins until there is one.
        log, crowd = tmp_path / "prototype" / "log", Client(0)
        place = Place(HOST, prototype.imap_port, "imap", 2)
        while not log.stat().st_size:
            assert crowd.logins(place, 0.1, 8).failures == 0
        assert b"imap-login: Login: user=<bench1>" in log.read_bytes()
