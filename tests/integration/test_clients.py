"""Command-line mail programs of the distribution do a real task through the proxy."""

from __future__ import annotations

import contextlib
import mailbox
import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness.dovecot import SEEDED, DovecotBackend
from tests.harness.proxy import HOST, Proxy
from tests.harness.wait import wait_until
from tests.integration.document import JOE, JOE_THERE, JOHN, PASSWORDS

TIMEOUT_S = 60


def run(*command: str, **environment: str) -> str:
    """Run a program that must succeed; returns what it printed."""
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{command[0]} ended with status {done.returncode}\n{said}"
    return said


def private(path: Path, text: str) -> str:
    """Write a file that only its owner reads, as programs ask of files with passwords."""
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def subjects(box: mailbox.Mailbox[mailbox.Message]) -> set[str]:
    """Return the subjects in a mailbox."""
    return {str(message["Subject"]) for message in box}


def seeded(backend: DovecotBackend, user: str) -> set[str]:
    """Return the subjects that the backend was given."""
    return {backend.subject(user, number) for number in range(1, SEEDED + 1)}


def test_curl_reads_mail_by_imap(running: Proxy, one: DovecotBackend) -> None:
    url = f"imap://{HOST}:{running.imap_port}/INBOX;MAILINDEX=1"
    said = run("curl", "--silent", "--show-error", "--user", f"{JOHN}:{PASSWORDS[JOHN]}", url)
    assert f"on backend {one.name}" in said


def test_curl_reads_mail_by_pop3(running: Proxy, two: DovecotBackend) -> None:
    url = f"pop3://{HOST}:{running.pop3_port}/1"
    said = run("curl", "--silent", "--show-error", "--user", f"{JOE}:{PASSWORDS[JOE]}", url)
    assert f"of {JOE_THERE} on backend {two.name}" in said


def test_curl_sends_its_name_and_authenticates_by_sasl(running: Proxy, two: DovecotBackend) -> None:
    url = f"imap://{HOST}:{running.imap_port}/"
    user = f"{JOE}:{PASSWORDS[JOE]}"
    said = run("curl", "--silent", "--user", user, "--login-options", "AUTH=PLAIN", "--sasl-ir", url)
    assert "INBOX" in said


def test_mbsync_copies_both_ways(running: Proxy, one: DovecotBackend, tmp_path: Path) -> None:
    copy = mailbox.Maildir(tmp_path / "mail")
    config = private(
        tmp_path / "mbsyncrc",
        f"""
IMAPStore proxy
Host {HOST}
Port {running.imap_port}
User {JOHN}
Pass {PASSWORDS[JOHN]}
SSLType None
AuthMechs LOGIN

MaildirStore local
Path {tmp_path}/folders/
Inbox {tmp_path}/mail

Channel inbox
Far :proxy:
Near :local:
Create Both
SyncState *
Sync Pull New Flags
""",
    )
    (tmp_path / "folders").mkdir()
    run("mbsync", "-c", config, "inbox", HOME=str(tmp_path))
    assert seeded(one, JOHN) <= subjects(copy)
    run("mbsync", "-c", config, "inbox", HOME=str(tmp_path))
    assert len(copy) == len(subjects(copy))


def test_mbsync_pipelines_a_folder_upwards(running: Proxy, tmp_path: Path) -> None:
    (tmp_path / "folders").mkdir()
    copy = mailbox.Maildir(tmp_path / "folders" / "up")
    for number in range(50):
        copy.add(f"From: a@example.org\nSubject: upward {number}\n\ntext\n".encode())
    config = private(
        tmp_path / "mbsyncrc",
        f"""
IMAPStore proxy
Host {HOST}
Port {running.imap_port}
User {JOE}
Pass {PASSWORDS[JOE]}
SSLType None
AuthMechs PLAIN LOGIN

MaildirStore local
Path {tmp_path}/folders/

Channel up
Far :proxy:up
Near :local:up
Create Far
SyncState *
Sync Push
""",
    )
    run("mbsync", "-c", config, "up", HOME=str(tmp_path))
    url = f"imap://{HOST}:{running.imap_port}/"
    said = run(
        "curl", "--silent", "--user", f"{JOE}:{PASSWORDS[JOE]}", "--request", "STATUS up (MESSAGES)", url
    )
    assert "MESSAGES 50" in said
    run("curl", "--silent", "--user", f"{JOE}:{PASSWORDS[JOE]}", "--request", "DELETE up", url)


@pytest.mark.parametrize("protocol", ["IMAP", "POP3"])
def test_fetchmail_fetches(running: Proxy, two: DovecotBackend, tmp_path: Path, protocol: str) -> None:
    port = running.imap_port if protocol == "IMAP" else running.pop3_port
    delivered = tmp_path / "delivered"
    config = private(
        tmp_path / "fetchmailrc",
        f"poll {HOST} service {port} protocol {protocol}\n"
        f'  user "{JOE}" password "{PASSWORDS[JOE]}" keep fetchall sslproto ""\n'
        f'  mda "cat >> {delivered}"\n',
    )
    pid = str(tmp_path / "pid")
    run("fetchmail", "--nosyslog", "--nodetach", "--pidfile", pid, "-f", config, FETCHMAILHOME=str(tmp_path))
    text = delivered.read_text()
    assert {s for s in seeded(two, JOE_THERE) if f"Subject: {s}" in text} == seeded(two, JOE_THERE)


def test_mutt_saves_a_message(running: Proxy, one: DovecotBackend, tmp_path: Path) -> None:
    """Drives the real screen program: open the INBOX, copy the first message to a file, leave."""
    saved = tmp_path / "saved"
    program = shutil.which("mutt") or shutil.which("neomutt")
    assert program is not None, "neither mutt nor neomutt is installed"
    config = private(
        tmp_path / "muttrc",
        f"""
set imap_user = "{JOHN}"
set imap_pass = "{PASSWORDS[JOHN]}"
set ssl_starttls = no
set ssl_force_tls = no
set folder = "{tmp_path}"
set mbox_type = mbox
set confirmappend = no
set confirmcreate = no
set delete = no
set move = no
set quit = yes
push "<copy-message><kill-line>{saved}<enter><quit>"
""",
    )
    url = f"imap://{HOST}:{running.imap_port}/INBOX"
    screen = on_a_terminal([program, "-n", "-F", config, "-f", url], tmp_path)
    assert saved.exists(), screen
    with contextlib.closing(mailbox.mbox(saved)) as box:
        assert len(box) == 1
        assert subjects(box) <= seeded(one, JOHN)


def on_a_terminal(command: list[str], home: Path) -> str:
    """Run a screen program to its end; returns what it drew."""
    pid, screen = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, {**os.environ, "HOME": str(home), "TERM": "xterm"})
    drawn = b""
    os.set_blocking(screen, False)

    def has_ended() -> bool:
        nonlocal drawn
        try:
            drawn += os.read(screen, 65536)
        except BlockingIOError:
            pass
        except OSError:  # the terminal is gone with its last process
            return True
        return False

    try:
        wait_until(f"{command[0]} ends", has_ended, TIMEOUT_S / 2)
    finally:
        os.close(screen)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", " ", drawn.decode(errors="replace"))
