"""What mailproxyctl makes of answers, honest and other ones."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailproxy import ctl
from mailproxy.ipc.control import Reply, Request, Row, parse_request, render_reply

ROW = Row(
    *("imap", "proxy", "joe", "192.0.2.7", "198.51.100.1:143", "S1", "TLSv1.3 with cipher X"),
    *("60", "10", "20", "4711"),
)


@contextlib.contextmanager
def answering(path: Path, *packets: bytes, stays: bool = False) -> Iterator[list[bytes]]:
    """Answer one request with these packets; yields what was asked."""
    asked: list[bytes] = []
    done = threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                asked.append(sock.recv(1000))
                for packet in packets:
                    sock.send(packet)
                if stays:
                    done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        yield asked
        done.set()
        thread.join()


def rows(*some: Row) -> bytes:
    return render_reply(Reply.ROWS, b"".join(row.render() for row in some))


END = render_reply(Reply.END)
ONE, TWO = (render_reply(Reply.ASKED, number) for number in (b"1", b"2"))


def run(path: Path, *words: str) -> int:
    return ctl.main(["-S", str(path), *words])


def test_who(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = ROW._replace(user="anna", client="2001:db8::1", session="", tls="", protocol="pop3")
    with answering(tmp_path / "c", ONE, rows(ROW), rows(other), END) as asked:
        assert run(tmp_path / "c", "who") == 0
    assert parse_request(asked[0]) == (Request.WHO, b"")
    head, *lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [dict(zip(head, line, strict=True)) | {"since": ""} for line in lines] == [
        {
            **{"user": "joe", "protocol": "imap", "client": "192.0.2.7", "backend": "198.51.100.1:143"},
            **{"session": "S1", "tls": "TLSv1.3", "since": "", "in": "10", "out": "20"},
            **{"state": "proxy", "pid": "4711"},
        },
        {
            **{"user": "anna", "protocol": "pop3", "client": "2001:db8::1", "backend": "198.51.100.1:143"},
            **{"session": "-", "tls": "-", "since": "", "in": "10", "out": "20"},
            **{"state": "proxy", "pid": "4711"},
        },
    ]


@pytest.mark.parametrize(
    ("pattern", "status"),
    [
        *(("joe", 0), ("j*", 0), ("J*", 1), ("192.0.2.7", 0), ("192.0.2.0/24", 0), ("192.0.2.8", 1)),
        *(("192.0.*", 0), ("S1", 0), ("::/0", 1), ("[", 1)),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, status: int) -> None:
    with answering(tmp_path / "c", ONE, rows(ROW), END):
        assert run(tmp_path / "c", "who", pattern) == status


def test_a_captured_worker_cannot_write_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """S5, V16: rows are printable words, and a malformed one hides no other."""
    evil = Row(*(f"\x1b[2J{field}\nforged  line" for field in ROW))
    broken = render_reply(Reply.ROWS, b"only\ttwo\n")
    nonsense = render_reply(Reply.ASKED, b"\xff\x1b")
    endless = render_reply(Reply.ASKED, b"9" * 5000)
    with answering(tmp_path / "c", ONE, nonsense, endless, broken, rows(evil), rows(ROW), END):
        assert run(tmp_path / "c", "who") == 0
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert [len(line.split()) for line in out.splitlines()] == [11, 11, 11]


def test_a_gap_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two masters have asked three processes, one of which has answered."""
    monkeypatch.setattr(ctl, "_SILENCE_S", 0.2)
    with answering(tmp_path / "c", ONE, TWO, rows(ROW), END, stays=True):
        assert run(tmp_path / "c", "who") == 75
    said = capsys.readouterr()
    assert "joe" in said.out
    assert said.err == "mailproxyctl: 2 processes do not answer, so the list is not complete\n"


def test_kick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with answering(tmp_path / "c", ONE, rows(ROW), END) as asked:
        assert run(tmp_path / "c", "kick", "joe") == 0
    assert parse_request(asked[0]) == (Request.KICK, b"joe")
    assert "192.0.2.7" in capsys.readouterr().out
    (tmp_path / "c").unlink()
    with answering(tmp_path / "c", ONE, END):
        assert run(tmp_path / "c", "kick", "joe") == 1
    assert capsys.readouterr().err == "mailproxyctl: nobody matches joe\n"


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_names_that_cannot_be_kicked(tmp_path: Path, name: str) -> None:
    assert run(tmp_path / "c", "kick", name) == 2


@pytest.mark.parametrize("command", ["status", "who", "reload", "upgrade", "stop"])
def test_a_refusal_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    with answering(tmp_path / "c", render_reply(Reply.FAILURE, b"not \x1bnow\nbut later")):
        assert run(tmp_path / "c", command) == 1
    assert capsys.readouterr().err == "mailproxyctl: not \\x1bnow\nbut later\n"


@pytest.mark.parametrize("command", ["reload", "upgrade"])
def test_a_master_that_ends_meanwhile(tmp_path: Path, command: str) -> None:
    with answering(tmp_path / "c"):
        assert run(tmp_path / "c", command) == 69


def test_it_is_not_running(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither is there a socket, nor does anybody answer at one that was left."""
    assert run(tmp_path / "c", "status") == 69
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(tmp_path / "c"))
    assert run(tmp_path / "c", "status") == 69
    assert capsys.readouterr().err == f"mailproxyctl: mailproxy is not running ({tmp_path}/c)\n" * 2


def test_the_socket_is_where_the_configuration_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while the configuration is broken, and must be looked at."""
    (tmp_path / "conf").write_text(f"base_dir = {tmp_path}/run\nno_such_setting = 1\n")
    assert ctl.main(["-c", str(tmp_path / "conf"), "status"]) == 69
    assert f"({tmp_path}/run/control)" in capsys.readouterr().err
    assert ctl.main(["-c", str(tmp_path / "nothing"), "status"]) == 1
    assert "nothing" in capsys.readouterr().err
