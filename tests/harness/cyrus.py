"""A real Cyrus IMAP as a backend, unpacked from Debian's packages."""

from __future__ import annotations

import imaplib
import shutil
import subprocess
from collections.abc import Mapping
from email.message import EmailMessage
from pathlib import Path

from tests.harness.archives import environment, unpack
from tests.harness.real_server import RealServer
from tests.harness.tls import Authority

SEEDED = 2
"""Messages in the INBOX of each user."""
_USER, _GROUP = "nobody", "nogroup"
_IMAPD = """\
configdirectory: {folder}/config
partition-default: {folder}/spool
defaultpartition: default
sievedir: {folder}/sieve
proc_path: {folder}/run/proc
mboxname_lockpath: {folder}/run/lock
lmtpsocket: {folder}/run/lmtp
idlesocket: {folder}/run/idle
notifysocket: {folder}/run/notify
cyrus_user: {user}
cyrus_group: {group}
servername: cyrus.test
admins: {admin}
proxyservers: {master}
allowplaintext: yes
failedloginpause: 0
unixhierarchysep: yes
virtdomains: off
hashimapspool: no
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb
sasl_mech_list: PLAIN LOGIN
tls_server_cert: {cert}
tls_server_key: {key}
imapidresponse: yes
"""
_MASTER = """\
START {{
}}
SERVICES {{
  imap cmd="{bin}/imapd -C {folder}/imapd.conf" listen="{host}:143" prefork=1
  imaps cmd="{bin}/imapd -s -C {folder}/imapd.conf" listen="{host}:993" prefork=0
  pop3 cmd="{bin}/pop3d -C {folder}/imapd.conf" listen="{host}:110" prefork=1
  pop3s cmd="{bin}/pop3d -s -C {folder}/imapd.conf" listen="{host}:995" prefork=0
}}
EVENTS {{
}}
"""


class CyrusBackend(RealServer):
    """Runs within `with`, as root. `master_user` may act for anybody by an authorization ID of SASL PLAIN."""

    master_user = "proxy"
    master_password = "Cyrus-Master-8b"
    _admin, _admin_password = "cyradm", "Cyrus-Admin-1q"

    def __init__(self, passwords: Mapping[str, bytes], authority: Authority) -> None:
        super().__init__("cyrus")
        self.passwords = dict(passwords)
        self._pair = authority.issue("cyrus.example.org", self.host)
        self._bin = self.folder / "usr/lib/cyrus/bin"

    def start(self) -> None:
        """Start it, make the mailboxes and put mail into them."""
        folder = self.folder
        unpack("cyrus", folder)
        for name in ("config", "spool", "sieve", "run"):
            (folder / name).mkdir()
            shutil.chown(folder / name, _USER, _GROUP)
        for name in ("config/socket", "config/db", "config/log", "config/proc", "run/proc", "run/lock"):
            (folder / name).mkdir(parents=True)
            shutil.chown(folder / name, _USER, _GROUP)
        key = folder / "server.key"
        key.write_bytes(self._pair.key.read_bytes())
        shutil.chown(key, _USER, _GROUP)
        key.chmod(0o600)
        (folder / "imapd.conf").write_text(
            _IMAPD.format(
                folder=folder,
                user=_USER,
                group=_GROUP,
                admin=self._admin,
                master=self.master_user,
                cert=self._pair.cert,
                key=key,
            )
        )
        (folder / "cyrus.conf").write_text(_MASTER.format(bin=self._bin, folder=folder, host=self.host))
        logins = {**self.passwords, self._admin: self._admin_password.encode()}
        for user, password in {**logins, self.master_user: self.master_password.encode()}.items():
            self._add(user, password)
        shutil.chown(folder / "sasldb", _USER, _GROUP)
        plugins = [*folder.glob("usr/lib/*/sasl2"), *Path("/usr/lib").glob("*/sasl2")]
        self.spawn(
            [
                *(str(self._bin / "master"), "-D", "-p", f"{folder}/master.pid"),
                *("-C", f"{folder}/imapd.conf", "-M", f"{folder}/cyrus.conf"),
            ],
            {**environment(folder), "SASL_PATH": ":".join(map(str, plugins))},
        )
        self.wait_greeting(143, b"* OK")
        self.wait_greeting(110, b"+OK")
        self._fill()

    def _add(self, user: str, password: bytes) -> None:
        program = self.folder / "usr/sbin/saslpasswd2"
        subprocess.run(
            [str(program), "-c", "-p", "-f", str(self.folder / "sasldb"), "-u", "cyrus.test", user],
            input=password,
            env=environment(self.folder),
            check=True,
        )

    def _fill(self) -> None:
        with imaplib.IMAP4(self.host) as box:
            box.login(self._admin, self._admin_password)
            for user in self.passwords:
                box.create(f"user/{user}")
                box.setacl(f"user/{user}", self._admin, "lrswipkxtecda")
                for number in range(1, SEEDED + 1):
                    message = EmailMessage()
                    message["From"] = "sender@example.org"
                    message["Subject"] = self.subject(user, number)
                    message.set_content("Kept by Cyrus.")
                    status, said = box.append(f"user/{user}", "", "", message.as_bytes())
                    assert status == "OK", said
