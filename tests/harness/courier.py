"""A real Courier as a backend, unpacked from Debian's packages and run in a root directory of its own.

Its paths are compiled in, so it is confined to a folder where they lead to its own files. Courier knows
neither master passwords nor authorization IDs.
"""

from __future__ import annotations

import mailbox
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path

from tests.harness.archives import environment, unpack
from tests.harness.real_server import RealServer
from tests.harness.tls import Authority

SEEDED = 2
"""Messages in the INBOX of each user."""
_UID = 65534
_PASSWD = """\
root:x:0:0:root:/:/bin/false
daemon:x:1:1:daemon:/:/bin/false
courier:x:{uid}:{uid}:courier:/:/bin/false
"""
_GROUP = """\
root:x:0:
daemon:x:1:
courier:x:{uid}:
"""
_AUTH = "/usr/lib/courier/courier-authlib"
_LOGIN = "/usr/lib/courier/courier"
_IMAP = [f"{_LOGIN}/imaplogin", "/usr/bin/imapd", "Maildir"]
_POP3 = [f"{_LOGIN}/courierpop3login", f"{_LOGIN}/courierpop3d", "Maildir"]
_TLS = ["/usr/bin/couriertls", "-server", "-tcpd"]
_PROGRAMS = (
    *("/usr/sbin/couriertcpd", "/usr/bin/couriertls", f"{_AUTH}/authdaemond", f"{_AUTH}/makedatprog"),
    "/usr/libexec/gam_server",  # Without it each SELECT waits for seconds.
)
# As the distribution's scripts do, but in the foreground and where the files lie seen from outside.
_START = 'set -a; for file in $FILES; do . "$file"; done; . "$OWN"; exec chroot "$ROOT" "$@"'
_OWN = """\
IMAP_STARTTLS=YES
IMAP_CAPABILITY="$IMAP_CAPABILITY_ORIG AUTH=PLAIN"
IMAP_CAPABILITY_TLS="$IMAP_CAPABILITY_ORIG AUTH=PLAIN"
POP3AUTH=PLAIN
POP3AUTH_TLS=PLAIN
POP3_STARTTLS=YES
TLS_CERTFILE=/etc/courier/server.pem
TLS_TRUSTCERTS=
TLS_CACHEFILE=
IMAP_ULIMITD=
LD_LIBRARY_PATH=/libs:/usr/lib
"""


class CourierBackend(RealServer):
    """Runs within `with`, as root."""

    def __init__(self, passwords: Mapping[str, bytes], authority: Authority) -> None:
        super().__init__("courier")
        self.passwords = dict(passwords)
        self._pair = authority.issue("courier.example.org", self.host)

    def start(self) -> None:
        """Start its processes: one for passwords, one for each port."""
        root = self.folder
        unpack("courier", root)
        self._furnish()
        self._write_users()
        for user in self.passwords:
            self._seed(user)
        self._run([f"{_AUTH}/authdaemond"], "authdaemonrc")
        for port, protocol, command in (
            (143, "imapd", _IMAP),
            (993, "imapd", [*_TLS, *_IMAP]),
            (110, "pop3d", _POP3),
            (995, "pop3d", [*_TLS, *_POP3]),
        ):
            listen = [
                f"-address={self.host}",
                "-maxprocs=40",
                "-maxperip=40",
                "-nodnslookup",
                "-noidentlookup",
            ]
            self._run(["/usr/sbin/couriertcpd", *listen, str(port), *command], f"{protocol}-ssl", protocol)
        self.wait_greeting(143, b"* OK")
        self.wait_greeting(110, b"+OK")

    def _furnish(self) -> None:
        """Give the root directory what these programs need of a system: libraries, users, a key."""
        root = self.folder
        for name in ("libs", "dev", "tmp", "home", "run/courier/authdaemon"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "dev/null").touch()
        (root / "tmp").chmod(0o1777)
        (root / "etc/passwd").write_text(_PASSWD.format(uid=_UID))
        (root / "etc/group").write_text(_GROUP.format(uid=_UID))
        (root / "etc/courier/server.pem").write_bytes(
            self._pair.key.read_bytes() + self._pair.cert.read_bytes()
        )
        (root / "own").write_text(_OWN)
        settings = root / "etc/courier/authdaemonrc"
        settings.write_text(settings.read_text().replace('"authpam"', '"authuserdb"'))
        found: set[str] = set()
        programs = [root / path[1:] for path in (*_PROGRAMS, *_IMAP[:2], *_POP3[:2])]
        for program in [*programs, *root.glob("usr/lib/courier-authlib/*.so")]:
            said = subprocess.run(
                ["ldd", str(program)], env=environment(root), capture_output=True, text=True, check=True
            ).stdout
            found |= set(re.findall(r"(/\S+) \(0x", said))
        for path in map(Path, found):
            # The program loader alone is looked for at its own place.
            place = root / "lib64" if path.name.startswith("ld-linux") else root / "libs"
            place.mkdir(exist_ok=True)
            shutil.copy(path, place)

    def _write_users(self) -> None:
        records, secrets = [], []
        for user, password in self.passwords.items():
            digest = (
                subprocess.run(
                    ["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, check=True
                )
                .stdout.decode()
                .strip()
            )
            home = f"/home/{user}"
            records.append(f"{user}\tuid={_UID}|gid={_UID}|home={home}|mail={home}/Maildir\n")
            secrets.append(f"{user}\tsystempw={digest}\n")
        for name, lines in (("userdb", records), ("userdbshadow", secrets)):
            place = f"/etc/courier/{name}"
            subprocess.run(
                ["chroot", str(self.folder), f"{_AUTH}/makedatprog", "-", f"{place}.tmp", f"{place}.dat"],
                input="".join(lines) + ".\n",
                env={"LD_LIBRARY_PATH": "/libs:/usr/lib", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                text=True,
                check=True,
            )

    def _seed(self, user: str) -> None:
        home = self.folder / "home" / user
        home.mkdir()
        maildir = mailbox.Maildir(home / "Maildir")
        for number in range(1, SEEDED + 1):
            message = EmailMessage()
            message["From"] = "sender@example.org"
            message["Subject"] = self.subject(user, number)
            message.set_content("Kept by Courier.")
            maildir.add(message)
        for path in [home, *home.rglob("*")]:
            shutil.chown(path, _UID, _UID)

    def _run(self, command: Sequence[str], *files: str) -> None:
        etc = self.folder / "etc/courier"
        self.spawn(
            ["sh", "-c", _START, "sh", *command],
            {
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "FILES": " ".join(str(etc / file) for file in files),
                "OWN": str(self.folder / "own"),
                "ROOT": str(self.folder),
            },
        )
