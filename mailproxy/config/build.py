"""From a finished tree to the frozen settings objects."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mailproxy.config.listen import PORTS, addresses
from mailproxy.config.networks import networks, source_ips
from mailproxy.config.settings import (
    Address,
    AuthSettings,
    DatabaseSettings,
    LocalName,
    LoginSettings,
    LogSettings,
    Settings,
    SocketSettings,
    TlsSettings,
)
from mailproxy.config.tree import PROTOCOLS, Tree

PROCESS_SIZE_FLOOR_MIB = 256
TLS_FLOOR = "TLSv1.2"
PEERS: dict[str, Callable[[str, str], tuple[str, ...]]] = {
    "haproxy_trusted_networks": networks,
    "login_trusted_networks": networks,
    "login_source_ips": source_ips,
}
"""How each list of networks or addresses is read."""
# Upper case; what is older than the floor is raised to it, with a warning.
MIN_PROTOCOLS = {
    **dict.fromkeys(("ANY", "SSLV3", "TLSV1", "TLSV1.1", "TLSV1.2"), TLS_FLOOR),
    **dict.fromkeys(("TLSV1.3", "LATEST"), "TLSv1.3"),
}
CAPABILITY = {
    "imap": "IMAP4rev1 SASL-IR SORT THREAD=REFERENCES MULTIAPPEND UNSELECT LITERAL+ IDLE CHILDREN"
    " NAMESPACE LOGIN-REFERRALS",
    "pop3": "TOP UIDL RESP-CODES PIPELINING",
}


def build(tree: Tree, path: str, warnings: list[str]) -> Settings:
    """Return the settings of a finished tree; addresses that `checks` refuses are left out."""
    main = tree.root["protocol"][main_protocol(tree)]
    auths = tuple(_auth(tree, key) for key in tree.root["auth"].sections)
    return Settings(
        path=path,
        base_dir=main["base_dir"],
        log=LogSettings(
            log_path=main["log_path"],
            info_log_path=main["info_log_path"],
            log_timestamp=main["log_timestamp"],
            syslog_facility=main["syslog_facility"],
        ),
        shutdown_clients=main["shutdown_clients"],
        shutdown_grace_s=main["shutdown_grace"],
        logins=tuple(_login(tree, name, auths) for name in active_protocols(tree)),
        auths=auths,
        warnings=tuple(warnings),
    )


def wanted(tree: Tree) -> list[str]:
    """Return the words of `protocols`, empty for `none`."""
    words: list[str] = tree.root["protocol"]["imap"]["protocols"].split()
    return [] if words == ["none"] else words


def active_protocols(tree: Tree) -> list[str]:
    """Return which of imap and pop3 have a listener; one without TLS needs a plain one."""
    words = wanted(tree)
    return [name for name in PROTOCOLS if name in words or (name + "s" in words and uses_tls(tree, name))]


def main_protocol(tree: Tree) -> str:
    """Return the protocol whose copy of the settings speaks for all processes."""
    words = wanted(tree)
    any_imap = "imap" in words or "imaps" in words
    any_pop3 = "pop3" in words or "pop3s" in words
    return "pop3" if any_pop3 and not any_imap else "imap"


def tls_is_off(tree: Tree, protocol: str) -> bool:
    """Say whether TLS is refused, by Dovecot 1.0's setting or by that of 2.x."""
    section: Any = tree.root["protocol"][protocol]
    return bool(section["ssl_disable"] or section["ssl"].lower() == "no")


def uses_tls(tree: Tree, protocol: str) -> bool:
    """Say whether TLS is asked for: by a certificate or key, by `ssl`, or by naming `imaps` or `pop3s`."""
    path = ("protocol", protocol)
    if tls_is_off(tree, protocol):
        return False
    named = tree.is_set(("protocol", "imap"), "protocols") and protocol + "s" in wanted(tree)
    files = any(tree.is_set(path, name) for name in ("ssl", "ssl_cert_file", "ssl_key_file"))
    return named or files or bool(tree.root["protocol"][protocol]["local_name"].sections)


def login_dir(tree: Tree, protocol: str) -> str:
    """Return the absolute path of `login_dir`, which is relative to `base_dir`."""
    base: str = tree.root["protocol"][main_protocol(tree)]["base_dir"]
    return os.path.join(base, tree.root["protocol"][protocol]["login_dir"])


def listeners(tree: Tree, protocol: str) -> tuple[Address, ...]:
    """Return the addresses of `imap`, `imaps`, `pop3` or `pop3s`. Raises ValueError with Dovecot's text.

    The TLS protocols take the addresses of `listen`, but not its port, if there is no `ssl_listen`.
    """
    section: Any = tree.root["protocol"][protocol.removesuffix("s")]
    port = PORTS[protocol]
    if protocol.endswith("s") and section["ssl_listen"]:
        return addresses("ssl_listen", section["ssl_listen"], port)
    return addresses("listen", section["listen"], port, own_port=not protocol.endswith("s"))


def _listeners_or_none(tree: Tree, protocol: str) -> tuple[Address, ...]:
    if protocol not in wanted(tree):
        return ()
    try:
        return listeners(tree, protocol)
    except ValueError:
        return ()


def _peers_or_none(section: Any, name: str) -> tuple[str, ...]:
    try:
        return PEERS[name](name, section[name])
    except ValueError:
        return ()


def _login(tree: Tree, name: str, auths: tuple[AuthSettings, ...]) -> LoginSettings:
    section: Any = tree.root["protocol"][name]
    size_mib: int = section["login_process_size"]
    tls = _tls(tree, name, auths)
    return LoginSettings(
        protocol=name,
        listen=_listeners_or_none(tree, name),
        ssl_listen=_listeners_or_none(tree, name + "s") if uses_tls(tree, name) else (),
        tls=tls,
        disable_plaintext_auth=section["disable_plaintext_auth"] or tls.required,
        login_dir=login_dir(tree, name),
        login_user=section["login_user"],
        login_greeting=section["login_greeting"],
        login_greeting_capability=section["login_greeting_capability"],
        login_log_format_elements=section["login_log_format_elements"],
        login_log_format=section["login_log_format"],
        login_process_per_connection=section["login_process_per_connection"],
        login_chroot=section["login_chroot"],
        login_process_size_mib=max(size_mib, PROCESS_SIZE_FLOOR_MIB) if size_mib else 0,
        login_seccomp=section["login_seccomp"],
        login_processes_count=section["login_processes_count"],
        login_max_processes_count=section["login_max_processes_count"],
        login_max_connections=section["login_max_connections"],
        mail_max_userip_connections=section["mail_max_userip_connections"],
        login_timeout_s=section["login_timeout"],
        login_proxy_timeout_s=section["login_proxy_timeout"],
        login_proxy_max_reconnects=section["login_proxy_max_reconnects"],
        proxy_host_immediate_failure_after_s=section["proxy_host_immediate_failure_after"],
        login_source_ips=_peers_or_none(section, "login_source_ips"),
        login_trusted_networks=_peers_or_none(section, "login_trusted_networks"),
        haproxy=section["haproxy"],
        haproxy_trusted_networks=_peers_or_none(section, "haproxy_trusted_networks"),
        haproxy_timeout_s=section["haproxy_timeout"],
        imap_id_log=bool(section["imap_id_log"].strip()),
        verbose_proctitle=section["verbose_proctitle"],
        capability=section[f"{name}_capability"] or CAPABILITY[name],
        capability_is_limited=not section[f"{name}_capability"],
        auth_verbose=any(auth.verbose for auth in auths),
        auth_debug=any(auth.debug for auth in auths),
    )


def _tls(tree: Tree, name: str, auths: tuple[AuthSettings, ...]) -> TlsSettings:
    section: Any = tree.root["protocol"][name]
    asks_cert = any(auth.ssl_require_client_cert or auth.ssl_username_from_cert for auth in auths)
    return TlsSettings(
        ssl_disable=not uses_tls(tree, name),
        required=section["ssl"].lower() == "required",
        ssl_min_protocol=MIN_PROTOCOLS.get(section["ssl_min_protocol"].upper(), TLS_FLOOR),
        ssl_ca_file=section["ssl_ca_file"],
        ssl_client_ca_file=section["ssl_client_ca_file"],
        ssl_cert_file=section["ssl_cert_file"],
        ssl_key_file=section["ssl_key_file"],
        ssl_key_password=section["ssl_key_password"],
        ssl_cipher_list=section["ssl_cipher_list"],
        ssl_verify_client_cert=section["ssl_verify_client_cert"] or asks_cert,
        verbose_ssl=section["verbose_ssl"],
        local_names=tuple(
            LocalName(
                names=tuple(names.split(" ", 1)[1].lower().split()),
                ssl_cert_file=block["ssl_cert_file"],
                ssl_key_file=block["ssl_key_file"] or section["ssl_key_file"],
                ssl_key_password=block["ssl_key_password"] or section["ssl_key_password"],
            )
            for names, block in section["local_name"].items()
        ),
    )


def _auth(tree: Tree, key: str) -> AuthSettings:
    section: Any = tree.root["auth"][key]
    negative_ttl_s: int | None = section["cache_negative_ttl"]
    debug = section["debug"] or section["debug_passwords"]
    return AuthSettings(
        name=key.split(" ", 1)[1],
        mechanisms=tuple(section["mechanisms"].upper().split()),
        realms=tuple(section["realms"].split()),
        default_realm=section["default_realm"],
        cache_size_bytes=section["cache_size"] * 1024,
        cache_ttl_s=section["cache_ttl"],
        cache_negative_ttl_s=section["cache_ttl"] if negative_ttl_s is None else negative_ttl_s,
        user=section["user"],
        chroot=auth_chroot(tree, key),
        username_chars=section["username_chars"],
        username_translation=section["username_translation"],
        username_format=section["username_format"],
        master_user_separator=section["master_user_separator"][:1],
        anonymous_username=section["anonymous_username"],
        verbose=section["verbose"] or debug,
        debug=debug,
        debug_passwords=section["debug_passwords"],
        ssl_require_client_cert=section["ssl_require_client_cert"],
        ssl_username_from_cert=section["ssl_username_from_cert"],
        count=section["count"],
        proxy_balance=tree.root["protocol"][main_protocol(tree)]["proxy_balance"].lower(),
        worker_max_count=section["worker_max_count"],
        process_size_mib=section["process_size"],
        passdbs=_databases(tree, key, "passdb"),
        userdbs=_databases(tree, key, "userdb"),
        client_sockets=tuple(
            SocketSettings(path=one["path"], mode=one["mode"], user=one["user"], group=one["group"])
            for one in section["client"].values()
            if one["path"]
        ),
    )


def auth_chroot(tree: Tree, key: str) -> str:
    """Return the absolute `chroot` of an auth section, which is relative to `base_dir`; empty if not set."""
    chroot: str = tree.root["auth"][key]["chroot"]
    base: str = tree.root["protocol"][main_protocol(tree)]["base_dir"]
    return os.path.join(base, chroot) if chroot else ""


def _databases(tree: Tree, key: str, kind: str) -> tuple[DatabaseSettings, ...]:
    found = []
    for name, section in tree.root["auth"][key][kind].items():
        where = tree.where["auth", key, kind, name]
        found.append(
            DatabaseSettings(
                driver=section["driver"].lower(),
                args=section["args"],
                deny=section.get("deny", False),
                pass_on=section.get("pass", False),
                master=section.get("master", False),
                file=where.file,
                line=where.line,
            )
        )
    return tuple(found)
