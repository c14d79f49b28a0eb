"""What the demo writes under run/: mail, the backends' users, the proxy's database and configuration."""

from __future__ import annotations

import getpass
import mailbox
import os
import sqlite3
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path

from passlib.hash import pbkdf2_sha256

from demo.accounts import ACCOUNTS, BACKENDS, HOST, IMAP_PORT, POP3_PORT, STATE, Account

CONFIGURATION = STATE / "dovecot.conf"
BASE_DIR = STATE / "base"
PID_FILE = BASE_DIR / "master.pid"
TABLE = Path(__file__).resolve().parent.parent / "etc" / "proxy-sqlite.sql"


def write_all() -> None:
    """Write everything anew except mail that is already there."""
    STATE.mkdir(mode=0o755, exist_ok=True)
    for account in ACCOUNTS:
        _deliver_welcome(account)
    _write_backend_users()
    _write_database(STATE / "proxy.sqlite")
    _write_configuration()


def _deliver_welcome(account: Account) -> None:
    if account.maildir.exists():
        return
    account.maildir.parent.mkdir(parents=True, exist_ok=True)
    message = EmailMessage()
    message["From"] = "postmaster@example.com"
    message["To"] = f"{account.name}"
    message["Date"] = formatdate()
    message["Subject"] = f"Welcome to backend {account.backend.name}"
    message.set_content(
        f"You are {account.name}, and backend {account.backend.name} keeps this mail.\n"
        "The proxy knew where to find it.\n"
    )
    mailbox.Maildir(account.maildir).add(message)


def _write_backend_users() -> None:
    """Write the files in which pymap looks for users and password hashes."""
    for backend in BACKENDS:
        accounts = [account for account in ACCOUNTS if account.backend is backend]
        users = "".join(f"{account.name}:x::::{account.name}:\n" for account in accounts)
        hashes = "".join(f"{a.name}:{pbkdf2_sha256.hash(a.password)}::::::: \n" for a in accounts)
        (backend.folder / "pymap-etc-passwd").write_text(users)
        (backend.folder / "pymap-etc-shadow").write_text(hashes)


def _write_database(path: Path) -> None:
    """Fill the table of the proxy; `host` and `destuser` as in the document's example, and ports."""
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.executescript(TABLE.read_text())
        for column in ("imap_port", "pop3_port"):
            database.execute(f"ALTER TABLE proxy ADD COLUMN {column} integer")
        database.executemany(
            "INSERT INTO proxy (user, host, destuser, imap_port, pop3_port) VALUES (?, ?, ?, ?, ?)",
            [(a.user, HOST, a.destuser, a.backend.imap_port, a.backend.pop3_port) for a in ACCOUNTS],
        )
    database.close()


def _write_configuration() -> None:
    # A master that is root must give its workers another user, a plain user can only be himself.
    login_user = "nobody" if os.geteuid() == 0 else getpass.getuser()
    sql = STATE / "dovecot-sql.conf"
    sql.write_text(f"""\
driver = sqlite
connect = {STATE / "proxy.sqlite"}
password_query = SELECT NULL AS password, host, destuser, 'Y' AS proxy, \\
  CASE '%s' WHEN 'imap' THEN imap_port ELSE pop3_port END AS port FROM proxy WHERE user = '%u'
""")
    sql.chmod(0o600)
    CONFIGURATION.write_text(f"""\
base_dir = {BASE_DIR}
log_path = /dev/stderr
protocols = imap pop3
ssl_disable = yes
disable_plaintext_auth = no
login_user = {login_user}
login_process_per_connection = no
login_processes_count = 2

protocol imap {{
  listen = {HOST}:{IMAP_PORT}
}}
protocol pop3 {{
  listen = {HOST}:{POP3_PORT}
}}

auth default {{
  mechanisms = plain
  user = {getpass.getuser()}
  cache_size = 1024
  verbose = yes
  userdb static {{
    args = uid=0 gid=0
  }}
  passdb sql {{
    args = {sql}
  }}
}}
""")
