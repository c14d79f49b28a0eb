"""The files in etc/ and the demo work as they are."""

from __future__ import annotations

import contextlib
import imaplib
import poplib
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from demo.accounts import ACCOUNTS, BACKENDS, HOST, IMAP_PORT, POP3_PORT, Account
from demo.files import CONFIGURATION, PID_FILE
from tests.harness import mail_client
from tests.harness.databases import MariaDb, PostgreSql, Server
from tests.harness.folder import open_folder
from tests.harness.ports import free_port, is_free
from tests.harness.proxy import CHECKOUT, Proxy
from tests.harness.wait import wait_until

ETC = CHECKOUT / "etc"
SQL_PATH = "/etc/mailproxy/dovecot-sql.conf"
TABLES = {"mysql": "proxy-mysql.sql", "pgsql": "proxy-pgsql.sql", "sqlite": "proxy-sqlite.sql"}


def test_examples_start_when_the_path_is_filled_in(proxy: Proxy) -> None:
    main = (ETC / "dovecot.conf.example").read_text()
    assert SQL_PATH in main
    proxy.write(main.replace(SQL_PATH, str(proxy.sql)), (ETC / "dovecot-sql.conf.example").read_text())
    proxy.start()
    assert not proxy.log_contains("Error: ")


def test_examples_show_every_setting_with_its_default() -> None:
    """A commented setting must be the default: uncommenting all of them changes nothing."""
    text = (ETC / "dovecot.conf.example").read_text()
    with open_folder("example") as folder:
        (folder / "as-is").write_text(text)
        shown = re.sub(r"^(\s*)#(\w+ = .*)$", r"\1\2", text, flags=re.MULTILINE)
        # Shown with what an empty value stands for, or with an example.
        shown = re.sub(r"^.*(_capability|cache_negative_ttl|listen) = .*$", "", shown, flags=re.MULTILINE)
        (folder / "uncommented").write_text(shown)
        settings = [dump(str(folder / name)) for name in ("as-is", "uncommented")]
    assert settings[0] == settings[1]


def dump(path: str) -> list[str]:
    """Return what `mailproxy -n` prints of a file, without its path."""
    command = [sys.executable, "-m", "mailproxy.cli", "-c", path, "-n"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return [
        line for line in done.stdout.decode().splitlines() if not line.startswith("#") and "args:" not in line
    ]


def script(name: str) -> str:
    """Return the SQL of a file in etc/, its two example rows uncommented, its grants not."""
    text = (ETC / name).read_text()
    return re.sub(r"^-- (INSERT .*)$", r"\1", text, flags=re.MULTILINE)


def statements(name: str) -> list[str]:
    """Return the script's statements."""
    lines = [line for line in script(name).splitlines() if not line.startswith("--")]
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]


@pytest.mark.parametrize("driver", ["mysql", "pgsql"])
def test_tables_for_servers(driver: str) -> None:
    server_type: type[Server] = MariaDb if driver == "mysql" else PostgreSql
    with server_type(free_port()) as server:
        for statement in statements(TABLES[driver]):
            server.execute(statement)
        rows = server.execute("SELECT host, destuser FROM proxy ORDER BY host")
    assert [tuple(row) for row in rows] == [("192.168.0.1", ""), ("192.168.0.2", "joe@example.com")]


def test_table_for_sqlite() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(script(TABLES["sqlite"]))
        rows = database.execute("SELECT host, destuser FROM proxy ORDER BY host").fetchall()
    assert rows == [("192.168.0.1", ""), ("192.168.0.2", "joe@example.com")]


def _master_pid() -> int:
    return int(PID_FILE.read_text().split()[0])


@pytest.fixture(scope="module")
def demo() -> Iterator[subprocess.Popen[bytes]]:
    """What `make run` starts."""
    ports = [IMAP_PORT, POP3_PORT, *(port for b in BACKENDS for port in (b.imap_port, b.pop3_port))]
    if not all(is_free(HOST, port) for port in ports):
        pytest.skip("a demo runs on this machine already")
    with open_folder("demo") as folder, (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo"], cwd=CHECKOUT, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            masters = [psutil.Process(process.pid), psutil.Process(_master_pid())]
            family = [one for master in masters for one in (*master.children(recursive=True), masters[1])]
            process.send_signal(signal.SIGINT)
            status = process.wait(30)
            said = (folder / "output").read_text()
    assert status == 0, said
    assert "Traceback" not in said, said
    wait_until("Ctrl-C ends everything", lambda: not any(child.is_running() for child in family), 5)


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: str(account.user))
def test_demo_users_read_their_mail(demo: subprocess.Popen[bytes], account: Account) -> None:
    def log_in() -> imaplib.IMAP4 | None:
        assert demo.poll() is None
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            client = imaplib.IMAP4(HOST, IMAP_PORT, timeout=mail_client.TIMEOUT_S)
            try:
                client.login(account.user, account.password)
            except imaplib.IMAP4.error:
                mail_client.leave(client)
                return None
            return client
        return None

    client = wait_until("the demo answers", log_in, 20)
    assert client is not None
    assert client.select()[0] == "OK"
    _ok, data = client.fetch("1", "(BODY[])")
    assert isinstance(data[0], tuple)
    assert f"backend {account.backend.name}".encode() in data[0][1]
    client.logout()
    other = poplib.POP3(HOST, POP3_PORT, timeout=mail_client.TIMEOUT_S)
    other.user(account.user)
    other.pass_(account.password)
    text = b"\n".join(other.retr(1)[1])
    other.quit()
    assert f"You are {account.name}, and backend {account.backend.name}".encode() in text


def test_the_demo_lives_on_after_an_upgrade(demo: subprocess.Popen[bytes]) -> None:
    """And Ctrl-C still ends everything, which the fixture looks at."""
    old = psutil.Process(wait_until("the demo has a proxy", lambda: PID_FILE.exists() and _master_pid(), 20))
    command = [sys.executable, "-m", "mailproxy.ctl", "-c", str(CONFIGURATION), "upgrade"]
    subprocess.run(command, cwd=CHECKOUT, check=True, timeout=30)
    new = psutil.Process(wait_until("another master", lambda: _master_pid() != old.pid and _master_pid(), 10))
    wait_until("the old master is gone", lambda: not old.is_running() or old.status() == "zombie", 10)
    with pytest.raises(subprocess.TimeoutExpired):
        demo.wait(1.5)  # it looks twice a second
    assert new.is_running()
