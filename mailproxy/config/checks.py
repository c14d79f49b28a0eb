"""What the settings mean together: every fault of a finished tree, and what deserves a warning."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import re
from collections.abc import Iterator
from typing import Any

from mailproxy.base.errors import Problem
from mailproxy.base.text import printable
from mailproxy.config.build import (
    MIN_PROTOCOLS,
    PEERS,
    PROCESS_SIZE_FLOOR_MIB,
    TLS_FLOOR,
    active_protocols,
    auth_chroot,
    listeners,
    main_protocol,
    tls_is_off,
    uses_tls,
    wanted,
)
from mailproxy.config.exposure import exposed_files
from mailproxy.config.listen import PORTS
from mailproxy.config.settings import BALANCES, Address
from mailproxy.config.tree import PROTOCOLS, Path, Tree

FACILITIES = (
    *("auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog", "uucp", "user"),
    *(f"local{number}" for number in range(8)),
)
NO_STORAGE = "a proxy has no mail storage"
_TLS_FILES = {"ssl_ca_file": "CA file", "ssl_cert_file": "certificate", "ssl_key_file": "key file"}
# Parts of cipher names, upper case.
_WEAK_CIPHERS = frozenset(
    (
        *("NULL", "ENULL", "ANULL", "ADH", "AECDH", "LOW", "MEDIUM", "COMPLEMENTOFALL"),
        *("COMPLEMENTOFDEFAULT", "EXP", "EXPORT", "EXPORT40", "EXPORT56", "MD5", "RC2", "RC4"),
        *("DES", "3DES", "IDEA", "SEED", "SSLV2"),
    )
)
NEED_NO_PASSDB = frozenset(("ANONYMOUS", "EXTERNAL", "GSSAPI"))


def check(tree: Tree, problems: list[Problem]) -> None:
    """Add every fault. Users and groups must exist only if we are root and will become them."""
    faults = _Faults(tree, problems)
    _check_server(faults)
    _check_protocols(faults)
    _check_listeners(faults)
    for protocol in PROTOCOLS:
        _check_tls_words(faults, protocol)
        _check_peers(faults, protocol)
    for protocol in active_protocols(tree):
        _check_tls_files(faults, protocol)
        _check_backend_ca(faults, protocol)
    if not tree.root["auth"].sections:
        faults.add("Missing auth section for server default")
    for key in tree.root["auth"].sections:
        _check_auth(faults, key)
    _check_process_names(faults)
    if os.geteuid() == 0:
        _check_users(faults)


class _Faults:
    """Adds problems, with file and line of the setting at fault if the file has it."""

    def __init__(self, tree: Tree, problems: list[Problem]) -> None:
        self.tree = tree
        self.main: Path = ("protocol", main_protocol(tree))
        self._problems = problems

    def add(self, text: str, path: Path = (), name: str = "") -> None:
        where = self.tree.where.get((*path, name) if name else path)
        self._problems.append(Problem(text, where.file, where.line) if where else Problem(text))

    def value(self, name: str) -> str:
        found: str = self.tree.root["protocol"][self.main[1]][name]
        return found


def _check_server(faults: _Faults) -> None:
    facility = faults.value("syslog_facility")
    if facility not in FACILITIES:
        faults.add(f"Unknown syslog_facility '{printable(facility)}'", faults.main, "syslog_facility")
    balance = faults.value("proxy_balance")
    if balance.lower() not in BALANCES:
        text = f"proxy_balance must be one of {', '.join(BALANCES)}: {printable(balance)}"
        faults.add(text, faults.main, "proxy_balance")
    if not os.path.isabs(faults.value("base_dir")):
        faults.add("base_dir must be an absolute path", faults.main, "base_dir")
    for name, text in (("log_path", "log"), ("info_log_path", "info log")):
        path = faults.value(name)
        if not path or path.startswith("/dev/"):
            continue
        directory = os.path.dirname(path)
        reason = "not an absolute path" if not os.path.isabs(path) else _denied(directory, os.W_OK | os.X_OK)
        if reason:
            faults.add(f"Can't write to {text} directory {printable(directory)}: {reason}", faults.main, name)


def _check_protocols(faults: _Faults) -> None:
    path: Path = ("protocol", "imap")
    words = wanted(faults.tree)
    if not faults.tree.root["protocol"]["imap"]["protocols"].split():
        faults.add("No protocols given in configuration file", path, "protocols")
    elif words and not set(words) & set(PORTS):
        faults.add("Invalid protocols given in configuration file", path, "protocols")
    for word in dict.fromkeys(words):
        if word not in PORTS:
            text = f"Unknown protocol {printable(word)} (the known ones are {', '.join(PORTS)})"
            faults.add(text, path, "protocols")
        elif words.count(word) > 1:
            faults.add(f"Protocol {word} given more than once", path, "protocols")


def _check_listeners(faults: _Faults) -> None:
    taken: dict[Address, str] = {}
    for word in dict.fromkeys(wanted(faults.tree)):
        if word not in PORTS:
            continue
        path: Path = ("protocol", word.removesuffix("s"))
        tls = word.endswith("s")
        if tls and tls_is_off(faults.tree, path[1]):
            continue
        name = "ssl_listen" if tls and faults.tree.is_set(path, "ssl_listen") else "listen"
        try:
            found = listeners(faults.tree, word)
        except ValueError as error:
            faults.add(str(error), path, name)
            continue
        for address in found:
            other = taken.setdefault(address, word)
            if other != word or found.count(address) > 1:
                faults.add(f"Protocols {other} and {word} are listening in same ip/port", path, name)


def _check_tls_words(faults: _Faults, protocol: str) -> None:
    path: Path = ("protocol", protocol)
    section: Any = faults.tree.root["protocol"][protocol]
    word = section["ssl"].lower()
    if word not in ("yes", "no", "required"):
        faults.add(f"ssl must be yes, no or required: {printable(section['ssl'])}", path, "ssl")
    elif word == "required" and section["ssl_disable"]:
        faults.add("ssl = required contradicts ssl_disable = yes", path, "ssl")
    version: str = section["ssl_min_protocol"]
    if version.upper() not in MIN_PROTOCOLS:
        text = f"ssl_min_protocol must be TLSv1.2 or TLSv1.3: {printable(version)}"
        faults.add(text, path, "ssl_min_protocol")


def _check_tls_files(faults: _Faults, protocol: str) -> None:
    """Look at who may read the files; what is in them is looked at when they are loaded."""
    if not uses_tls(faults.tree, protocol):
        return
    path: Path = ("protocol", protocol)
    section: Any = faults.tree.root["protocol"][protocol]
    files = [(path, name, section[name]) for name in _TLS_FILES]
    for key, block in section["local_name"].items():
        inside = (*path, "local_name", key)
        if not block["ssl_cert_file"]:
            faults.add(f"local_name {printable(key.split(' ', 1)[1])} has no ssl_cert_file", inside)
        files += [(inside, name, block[name]) for name in _TLS_FILES if block.get(name)]
    for place, name, file in files:
        reason = _denied(file, os.R_OK) if file or name != "ssl_ca_file" else ""
        if reason:
            faults.add(f"Can't use SSL {_TLS_FILES[name]} {printable(file)}: {reason}", place, name)


def _check_backend_ca(faults: _Faults, protocol: str) -> None:
    path: Path = ("protocol", protocol)
    file: str = faults.tree.root["protocol"][protocol]["ssl_client_ca_file"]
    reason = _denied(file, os.R_OK) if file else ""
    if reason:
        faults.add(f"Can't use SSL CA file {printable(file)}: {reason}", path, "ssl_client_ca_file")


def _check_peers(faults: _Faults, protocol: str) -> None:
    path: Path = ("protocol", protocol)
    section: Any = faults.tree.root["protocol"][protocol]
    for name, read in PEERS.items():
        try:
            read(name, section[name])
        except ValueError as error:
            faults.add(str(error), path, name)
    if section["haproxy"] and not section["haproxy_trusted_networks"].replace(",", " ").split():
        text = "haproxy = yes without haproxy_trusted_networks lets nobody in: set it to the addresses of"
        faults.add(f"{text} the load balancers", path, "haproxy")


def _check_auth(faults: _Faults, key: str) -> None:
    path: Path = ("auth", key)
    section: Any = faults.tree.root["auth"][key]
    mechanisms = section["mechanisms"].upper().split()
    if not mechanisms:
        faults.add("No authentication mechanisms configured", path, "mechanisms")
    if "ANONYMOUS" in mechanisms and not section["anonymous_username"]:
        faults.add("ANONYMOUS listed in mechanisms, but anonymous_username not given", path, "mechanisms")
    if not section["userdb"].sections:
        faults.add("You'll need to add at least one userdb", path)
    _check_passdbs(faults, path, section["passdb"], mechanisms)
    for kind in ("passdb", "userdb"):
        for name, database in section[kind].items():
            if not database["driver"]:
                faults.add(f"{kind} has no driver", (*path, kind, name))
    for name, socket in section["client"].items():
        if socket["mode"] > 0o777:
            faults.add(f"Invalid mode: {socket['mode']:#o}", (*path, "client", name), "mode")


def _check_process_names(faults: _Faults) -> None:
    """The second process of `default` is `default.2`, on a socket of that name."""
    sections: Any = faults.tree.root["auth"]
    names = {key.split(" ", 1)[1]: key for key in sections.sections}
    for name, key in names.items():
        first, _, number = name.rpartition(".")
        other = names.get(first)
        if other and number.isdigit() and 2 <= int(number) <= sections[other]["count"]:
            text = f"the name is that of process {number} of auth section {printable(first)}: take another"
            faults.add(text, ("auth", key))


def _check_passdbs(faults: _Faults, path: Path, passdbs: Any, mechanisms: list[str]) -> None:
    needy = next((name for name in mechanisms if name not in NEED_NO_PASSDB), "")
    names = passdbs.sections
    if needy and not any(not passdbs[name]["master"] and not passdbs[name]["deny"] for name in names):
        faults.add(
            f"No passdbs specified in configuration file. {printable(needy)} mechanism needs one", path
        )
    for name in names:
        if passdbs[name]["master"] and passdbs[name]["deny"]:
            faults.add("Master passdb can't have deny=yes", (*path, "passdb", name), "deny")
    if names and passdbs[names[-1]]["pass"]:
        faults.add("Last passdb can't have pass=yes", (*path, "passdb", names[-1]), "pass")


def _check_users(faults: _Faults) -> None:
    """Check the users that processes change to; only root can do that."""
    logins: dict[str, pwd.struct_passwd] = {}
    for protocol in active_protocols(faults.tree):
        path: Path = ("protocol", protocol)
        user: str = faults.tree.root["protocol"][protocol]["login_user"]
        entry = _user(user)
        if entry is None:
            faults.add(f"Login user doesn't exist: {printable(user)}", path, "login_user")
        elif entry.pw_uid == 0:
            faults.add("login_user must not be root", path, "login_user")
        else:
            logins[protocol] = entry
    if len({entry.pw_gid for entry in logins.values()}) > 1:
        groups = " vs ".join(_group(logins[protocol].pw_gid) for protocol in PROTOCOLS)
        faults.add(f"All login process users must belong to same group ({groups})")
    for key in faults.tree.root["auth"].sections:
        _check_auth_user(faults, key, logins)


def _check_auth_user(faults: _Faults, key: str, logins: dict[str, pwd.struct_passwd]) -> None:
    path: Path = ("auth", key)
    user: str = faults.tree.root["auth"][key]["user"]
    entry = _user(user)
    if entry is None:
        faults.add(f"Auth user doesn't exist: {printable(user)}", path, "user")
    for login in {login.pw_name: login for login in logins.values()}.values():
        if entry and entry.pw_uid == login.pw_uid:
            text = f"login_user {login.pw_name} (uid {login.pw_uid}) must not be same as auth_user"
            faults.add(text, path, "user")
    chroot = auth_chroot(faults.tree, key)
    reason = _denied(chroot, os.X_OK) if chroot else ""
    if reason:
        faults.add(f"Can't access auth chroot directory {printable(chroot)}: {reason}", path, "chroot")


def warn(tree: Tree) -> list[str]:
    """Return what the log should say at start about settings that are accepted but not followed."""
    small = [
        f"login_process_size = {size_mib} is less than Python needs, using {PROCESS_SIZE_FLOOR_MIB}"
        for size_mib in dict.fromkeys(_small_sizes(tree))
    ]
    return [
        *dict.fromkeys((*tree.warnings, *_tls_warnings(tree))),
        *small,
        *exposed_files(tree),
        *_ignored(tree),
    ]


def _tls_warnings(tree: Tree) -> Iterator[str]:
    for protocol in PROTOCOLS:
        section: Any = tree.root["protocol"][protocol]
        if not uses_tls(tree, protocol):
            if protocol + "s" in wanted(tree) and not tls_is_off(tree, protocol):
                yield (
                    f"{protocol}s is not served: TLS has no certificate,"
                    " set ssl_cert_file and ssl_key_file (ssl = no silences this)"
                )
            continue
        if protocol not in active_protocols(tree):
            continue
        if section["ssl_min_protocol"].upper() not in (TLS_FLOOR.upper(), "TLSV1.3", "LATEST"):
            yield f"ssl_min_protocol = {printable(section['ssl_min_protocol'])} is unsafe, using {TLS_FLOOR}"
        weak = _weak_ciphers(section["ssl_cipher_list"])
        if weak:
            yield f"ssl_cipher_list: weak ciphers are left out: {', '.join(weak)}"
        if not section["ssl_ca_file"] and any(_asks_certificate(tree, protocol)):
            yield "without ssl_ca_file no client certificate is valid: none is asked for"


def _asks_certificate(tree: Tree, protocol: str) -> Iterator[bool]:
    yield tree.root["protocol"][protocol]["ssl_verify_client_cert"]
    for auth in tree.root["auth"].values():
        yield auth["ssl_require_client_cert"] or auth["ssl_username_from_cert"]


def _weak_ciphers(cipher_list: str) -> list[str]:
    """Return the words of an OpenSSL cipher string that ask for what nobody should use any more."""
    return [
        printable(word)
        for word in re.split("[:, ;]+", cipher_list)
        if word[:1] not in ("!", "-", "@") and _WEAK_CIPHERS & set(re.split("[-+]", word.upper()))
    ]


def _small_sizes(tree: Tree) -> list[int]:
    return [
        tree.root["protocol"][protocol]["login_process_size"]
        for protocol in active_protocols(tree)
        if tree.is_set(("protocol", protocol), "login_process_size")
        and 0 < tree.root["protocol"][protocol]["login_process_size"] < PROCESS_SIZE_FLOOR_MIB
    ]


def _ignored(tree: Tree) -> list[str]:
    """Return one line for each reason, naming what the file sets to something else than the default."""
    groups: dict[str, dict[str, None]] = {}
    for path in tree.where:
        if path[0] == "namespace":
            groups.setdefault(NO_STORAGE, {})["namespace"] = None
        if path[0] == "namespace" or len(path) % 2 == 0:
            continue
        setting = tree.table.setting(path[:-1], path[-1])
        if setting.ignored and not tree.is_default(path):
            prefix = {3: "auth_", 5: "socket listen master "}[len(path)] if path[0] == "auth" else ""
            groups.setdefault(setting.ignored, {})[prefix + path[-1]] = None
    for section, *_rest in tree.free:
        groups.setdefault(NO_STORAGE, {})[section] = None
    return [f"ignored: {reason}: {', '.join(names)}" for reason, names in groups.items()]


def _denied(path: str, mode: int) -> str:
    """Say why a file or directory cannot be used, empty if it can."""
    try:
        os.stat(path)
    except OSError as error:
        return error.strerror or str(error)
    return "" if os.access(path, mode) else os.strerror(errno.EACCES)


def _user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
