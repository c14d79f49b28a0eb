from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailproxy.config.settings import (
    AuthSettings,
    DatabaseSettings,
    LoginSettings,
    LogSettings,
    Settings,
    TlsSettings,
)
from mailproxy.config.spec import Setting, Table
from mailproxy.config.sql import load_sql
from tests.unit.config.config_text import Read

MAN = Path(__file__).parents[3] / "man"
SERVER, AUTH = ("protocol", "imap"), ("auth", "default")
SUBSECTIONS = {
    "Settings of local_name": (*SERVER, "local_name", ""),
    "Settings of passdb": (*AUTH, "passdb", ""),
    "Settings of userdb": (*AUTH, "userdb", ""),
    "Settings of client sockets": (*AUTH, "client", ""),
    "Settings of master sockets": (*AUTH, "master", ""),
    "Settings of namespace": ("namespace", ""),
}
ENTRY = re.compile(r"\.It Ic (?P<name>\S+) No = Ar (?P<kind>.*?) Pq (?:Dq )?(?P<default>.*)")
TABLE = Table("dovecot.configspec")


def documented(page: str) -> Iterator[tuple[str, str, str, str]]:
    """Return subsection, name, kind and default of each entry of a manual page."""
    title = ""
    for line in (MAN / page).read_text().splitlines():
        if line.startswith((".Sh ", ".Ss ")):
            title = line[4:]
        elif found := ENTRY.match(line):
            default = found["default"].replace("\\-", "-").replace("empty", "")
            yield title, found["name"], found["kind"], default


def expected(setting: Setting, prefix: str) -> tuple[str, str, str]:
    kind = {"boolean": "yes | no", "string": "text"}.get(setting.type, setting.unit or "number")
    default = "default: as auth_cache_ttl" if setting.default is None else setting.default.strip()
    return prefix + setting.name, kind, default


def test_the_manual_has_every_setting_and_no_other() -> None:
    inside: dict[str, list[tuple[str, str, str]]] = {title: [] for title in SUBSECTIONS}
    outside: list[tuple[str, str, str]] = []
    for title, *entry in documented("mailproxy.conf.5"):
        name, kind, default = entry
        inside.get(title, outside).append((name, kind, default))
    for title, path in SUBSECTIONS.items():
        assert sorted(inside[title]) == sorted(expected(row, "") for row in TABLE.settings(path))
    assert sorted(outside) == sorted(
        [expected(row, "") for row in TABLE.settings(SERVER)]
        + [expected(row, "auth_") for row in TABLE.settings(AUTH)]
    )


def test_the_manual_of_the_sql_file_has_every_setting_and_no_other() -> None:
    rows = Table("dovecot-sql.configspec").settings(("sql", ""))
    found = [(name, kind, default) for _, name, kind, default in documented("mailproxy-sql.conf.5")]
    assert sorted(found) == sorted(expected(row, "") for row in rows)


@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
@pytest.mark.parametrize("page", ["mailproxy.conf.5", "mailproxy-sql.conf.5"])
def test_the_manual_is_clean(page: str) -> None:
    done = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", str(MAN / page)], capture_output=True, text=True, check=False
    )
    assert done.stdout + done.stderr == ""


def examples(page: str) -> list[str]:
    blocks = (MAN / page).read_text().split(".Bd -literal -offset indent\n")[1:]
    return [block.split(".Ed")[0].replace("\\e", "\\").replace("\\-", "-") for block in blocks]


def test_the_examples_of_the_manual_load(read: Read, tmp_path: Path) -> None:
    forwarding, one_backend = [read(text, auth="") for text in examples("mailproxy.conf.5")]
    assert forwarding.logins[0].login_processes_count == 20
    assert [login.listen[0].port for login in one_backend.logins] == [143, 110]
    assert one_backend.warnings == ()
    _table, forwarding_sql, master_sql = examples("mailproxy-sql.conf.5")
    path = tmp_path / "sql.conf"
    path.write_text(forwarding_sql)
    assert load_sql(str(path)).password_query.endswith("AS proxy FROM proxy WHERE user = '%u'")
    path.write_text(f"driver = sqlite\nconnect = x\n{master_sql}")
    assert load_sql(str(path)).password_query.endswith("AS pass FROM proxy WHERE user = '%u'")


OTHER = {
    "proxy_balance": "hash",
    "base_dir": "/srv/x",
    "log_path": "/dev/stderr",
    "info_log_path": "/dev/stdout",
    "syslog_facility": "local0",
    "protocols": "imap",
    "listen": "127.0.0.1",
    "ssl_listen": "127.0.0.1",
    "ssl": "required",
    "ssl_min_protocol": "TLSv1.3",
    "ssl_cert_file": "/dev/zero",
    "ssl_key_file": "/dev/zero",
    "ssl_ca_file": "/dev/zero",
    "ssl_client_ca_file": "/dev/zero",
    "haproxy_trusted_networks": "192.0.2.0/24",
    "login_trusted_networks": "192.0.2.0/24",
    "login_source_ips": "192.0.2.7",
    "login_process_size": "512",
}


def other(setting: Setting) -> str:
    """Return a valid value that is not the default."""
    if setting.name in OTHER:
        return OTHER[setting.name]
    if setting.type == "boolean":
        return "no" if setting.default == "yes" else "yes"
    if setting.type == "number":
        return "17"
    return "other"


def without_place(settings: Settings) -> Settings:
    """Leave out where databases are defined, as that moves with the text, and the warnings."""

    def moved(of: tuple[DatabaseSettings, ...]) -> tuple[DatabaseSettings, ...]:
        return tuple(dataclasses.replace(one, line=0) for one in of)

    auths = tuple(
        dataclasses.replace(auth, passdbs=moved(auth.passdbs), userdbs=moved(auth.userdbs))
        for auth in settings.auths
    )
    return dataclasses.replace(settings, path="", warnings=(), auths=auths)


NEEDED = "passdb static {\n }\n userdb static {\n }\n"
# TLS is on, so that its settings count; both protocols run, so that both capability strings do; `haproxy`
# needs its networks.
BASE = (
    "ssl_cert_file = /dev/null\nssl_key_file = /dev/null\nprotocols = imap imaps pop3\n"
    "haproxy_trusted_networks = ::1\n"
)


def both_ways(read: Read, text: str) -> tuple[Settings, Settings]:
    """Load a configuration without and with the setting, whose line is the text."""
    auth = f"auth default {{\n {NEEDED}}}\n"
    return without_place(read(BASE, auth=auth)), without_place(read(f"{BASE}{text}", auth=auth))


@pytest.mark.parametrize("setting", TABLE.settings(SERVER), ids=lambda row: row.name)
def test_a_setting_reaches_the_result_unless_it_is_ignored(read: Read, setting: Setting) -> None:
    before, after = both_ways(read, f"{setting.name} = {other(setting)}\n")
    assert (before == after) == bool(setting.ignored)


@pytest.mark.parametrize("setting", TABLE.settings(AUTH), ids=lambda row: row.name)
def test_an_auth_setting_reaches_the_result_unless_it_is_ignored(read: Read, setting: Setting) -> None:
    before, after = both_ways(read, f"auth_{setting.name} = {other(setting)}\n")
    assert (before == after) == bool(setting.ignored)


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        (kind, row)
        for kind in ("passdb x", "userdb x", "client", "master")
        for row in TABLE.settings((*AUTH, kind.split()[0], ""))
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_nested_setting_reaches_the_result_unless_it_is_ignored(
    read: Read, kind: str, setting: Setting
) -> None:
    def with_line(line: str) -> Settings:
        block = f"{kind} {{\n{line}}}\n"
        if " " not in kind:
            path_line = "" if "path" in line else "path = /x\n"
            block = f"socket listen {{\n{kind} {{\n{path_line}{line}}}\n}}\n"
        return without_place(read(f"auth default {{\n{block}{NEEDED}}}\n", auth=""))

    changed = with_line(f"{setting.name} = {other(setting)}\n")
    assert (with_line("") == changed) == bool(setting.ignored)


@pytest.mark.parametrize(
    "setting", Table("dovecot-sql.configspec").settings(("sql", "")), ids=lambda row: row.name
)
def test_an_sql_setting_reaches_the_result_unless_it_is_ignored(tmp_path: Path, setting: Setting) -> None:
    path = tmp_path / "sql.conf"
    needed = "driver = mysql\nconnect = host=a\n"
    path.write_text(needed)
    before = load_sql(str(path))
    path.write_text(f"{needed}{setting.name} = {'pgsql' if setting.name == 'driver' else 'other'}\n")
    assert (before == load_sql(str(path))) == bool(setting.ignored)


def test_every_field_of_the_result_has_a_setting() -> None:
    """No orphan the other way round: a field that nothing can set would be a lie."""
    known = {row.name for path in (SERVER, AUTH) for row in TABLE.settings(path)}
    fields = {
        field.name.removesuffix("_s").removesuffix("_mib").removesuffix("_bytes")
        for kind in (LoginSettings, AuthSettings, TlsSettings, LogSettings)
        for field in dataclasses.fields(kind)
    }
    made_up = {"protocol", "tls", "capability", "capability_is_limited", "auth_verbose", "auth_debug", "name"}
    made_up |= {"required", "local_names", "passdbs", "userdbs", "client_sockets"}
    assert fields - made_up <= known
