"""A real Dovecot of the distribution as a backend: its own folder, address, users and mail."""

from __future__ import annotations

import contextlib
import functools
import getpass
import grp
import mailbox
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Self

import psutil

from tests.harness.folder import open_folder
from tests.harness.ports import free_address, free_port
from tests.harness.tls import Pair
from tests.harness.wait import wait_until

PROGRAM = "/usr/sbin/dovecot"
SEEDED = 3
"""Messages in the INBOX of each user."""

_CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap pop3
listen = {host}
{tls}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
auth_master_user_separator = *
mail_location = maildir:~/Maildir
mail_max_userip_connections = 1000
first_valid_uid = 1
{users}
passdb {{
  driver = passwd-file
  master = yes
  args = {folder}/masters
}}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid={mail_user} gid={mail_group} home={folder}/home/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = {imaps_port}
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3_port}
  }}
  inet_listener pop3s {{
    port = {pop3s_port}
  }}
}}
"""
# A plain user cannot change root or user, so every service stays what it is.
_PLAIN_USER = """\
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
}}
service pop3-login {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


class DovecotBackend:
    """Runs from `start` to `close`. A master user `proxy` may log in as anybody (`user*proxy`).

    It dies with the tests in any case.
    It has a loopback address of its own; the ports are those of all backends, with root's rights 143 and 110.
    `make_pair` is given that address and returns a certificate: then there is STARTTLS and STLS, and TLS on
    `imaps_port` and `pop3s_port`, with root's rights 993 and 995. `settings` end its configuration.
    """

    master_user = "proxy"
    master_password = "master-Zk41"

    def __init__(
        self,
        name: str,
        passwords: Mapping[str, str],
        make_pair: Callable[[str], Pair] | None = None,
        settings: str = "",
    ) -> None:
        self.name = name
        self._settings = settings
        self.passwords = dict(passwords)
        self.is_root = os.geteuid() == 0
        self.imap_port, self.pop3_port, imaps_port, pop3s_port = _ports(self.is_root)
        self.imaps_port, self.pop3s_port = (imaps_port, pop3s_port) if make_pair else (0, 0)
        self.host = free_address(
            self.imap_port, self.pop3_port, *((imaps_port, pop3s_port) if make_pair else ())
        )
        self._pair = make_pair(self.host) if make_pair else None
        self._close = contextlib.ExitStack()
        self.folder = self._close.enter_context(open_folder(f"dovecot-{name}"))
        self.log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._write()

    def start(self) -> None:
        """Start it and wait until both ports greet."""
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", PROGRAM, "-F", "-c", str(self.folder / "dovecot.conf")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(f"Dovecot {self.name} answers\n{self._said()}", self._greets, 20)

    def stop(self) -> None:
        """End all its processes, sessions too."""
        if self._process is None:
            return
        tree = [psutil.Process(self._process.pid)] if self._process.poll() is None else []
        for process in list(tree):
            tree += process.children(recursive=True)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        finally:
            for process in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait(10)
            self._process = None

    def close(self) -> None:
        """Stop it and remove its files."""
        with self._close:
            self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def logins(self, user: str) -> int:
        """Return how many logins as `user` its log shows."""
        return self.log.read_text(errors="replace").count(f"Login: user=<{user}>")

    def tls_logins(self, user: str) -> int:
        """Return how many of these were within TLS."""
        lines = self.log.read_text(errors="replace").splitlines()
        return sum(f"Login: user=<{user}>" in line and ", TLS" in line for line in lines)

    def subject(self, user: str, number: int) -> str:
        """Return the subject of a seeded message; it tells where it lives."""
        return f"message {number} of {user} on backend {self.name}"

    def _write(self) -> None:
        mail_user, mail_group = ("mail", "mail") if self.is_root else (getpass.getuser(), str(os.getegid()))
        users = "" if self.is_root else _PLAIN_USER.format(user=mail_user, group=_group())
        tls = f"ssl_cert = <{self._pair.cert}\nssl_key = <{self._pair.key}" if self._pair else "ssl = no"
        (self.folder / "dovecot.conf").write_text(
            _CONFIGURATION.format(
                folder=self.folder,
                host=self.host,
                users=users,
                mail_user=mail_user,
                mail_group=mail_group,
                imap_port=self.imap_port,
                pop3_port=self.pop3_port,
                imaps_port=self.imaps_port,
                pop3s_port=self.pop3s_port,
                tls=tls,
            )
            + self._settings
        )
        lines = [f"{user}:{{PLAIN}}{password}\n" for user, password in self.passwords.items()]
        (self.folder / "users").write_text("".join(lines))
        (self.folder / "masters").write_text(f"{self.master_user}:{{PLAIN}}{self.master_password}\n")
        for user in self.passwords:
            self._seed(user)
        if self.is_root:
            for path in [self.folder / "home", *(self.folder / "home").rglob("*")]:
                shutil.chown(path, mail_user, mail_group)

    def _seed(self, user: str) -> None:
        home = self.folder / "home" / user
        home.mkdir(parents=True)
        maildir = mailbox.Maildir(home / "Maildir")
        for number in range(1, SEEDED + 1):
            message = EmailMessage()
            message["From"] = "sender@example.org"
            message["To"] = user if "@" in user else f"{user}@example.com"
            message["Subject"] = self.subject(user, number)
            message["Message-ID"] = f"<{number}.{user}@{self.name}>"
            message["Date"] = f"Fri, 13 Apr 2007 14:32:0{number} +0000"
            message.set_content(f"The text of {self.subject(user, number)}.\n.a line with a dot\n")
            maildir.add(message)

    def _greets(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"Dovecot {self.name} ended at start\n{self._said()}")
        return _greeting(self.host, self.imap_port, b"* OK") and _greeting(self.host, self.pop3_port, b"+OK")

    def _said(self) -> str:
        files: list[Path] = [self.folder / "output", self.log]
        return "".join(path.read_text(errors="replace")[-3000:] for path in files if path.exists())


@functools.cache
def _ports(is_root: bool) -> tuple[int, int, int, int]:
    """Return those of all backends: IMAP, POP3, and the same with TLS."""
    return (143, 110, 993, 995) if is_root else (free_port(), free_port(), free_port(), free_port())


def _group() -> str:
    return grp.getgrgid(os.getegid()).gr_name


def _greeting(host: str, port: int, expected: bytes) -> bool:
    try:
        with socket.create_connection((host, port), 2) as client:
            return client.recv(100).startswith(expected)
    except OSError:
        return False
