"""What a checked configuration says, as frozen values: one object for each process that reads it.

Names are Dovecot's setting names; a quantity carries its unit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BALANCES = ("first", "hash", "least")
"""What `proxy_balance` can be."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; `host` is an IP address, `*` or `::`."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Where log lines go; an empty `log_path` means syslog, an empty `info_log_path` means `log_path`."""

    log_path: str
    info_log_path: str
    log_timestamp: str
    syslog_facility: str


@dataclass(frozen=True, slots=True)
class LocalName:
    """The certificate for clients that ask for one of `names` by SNI."""

    names: tuple[str, ...]
    """Lower case; `*.example.com` stands for one label more."""
    ssl_cert_file: str
    ssl_key_file: str
    ssl_key_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS towards clients, and whom to believe about backends."""

    ssl_disable: bool
    """No TLS at all: by `ssl_disable`, by `ssl = no`, or because nothing asks for it."""
    required: bool
    """`ssl = required`: no password without TLS, not even from this very host."""
    ssl_min_protocol: str
    """`TLSv1.2` or `TLSv1.3`."""
    ssl_ca_file: str
    ssl_client_ca_file: str
    """For backends; holds with `ssl_disable` too."""
    ssl_cert_file: str
    ssl_key_file: str
    ssl_key_password: str = field(repr=False)
    ssl_cipher_list: str
    ssl_verify_client_cert: bool
    verbose_ssl: bool
    local_names: tuple[LocalName, ...]
    """In the order of the file; of two that name the same, the last holds."""


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """One group of login workers, `imap` or `pop3`."""

    protocol: str
    listen: tuple[Address, ...]
    """Plain listeners; empty when only the TLS protocol is wanted."""
    ssl_listen: tuple[Address, ...]
    """Listeners whose connections begin with TLS."""
    tls: TlsSettings
    disable_plaintext_auth: bool
    login_dir: str
    """Absolute."""
    login_user: str
    login_greeting: str
    login_greeting_capability: bool
    login_log_format_elements: str
    login_log_format: str
    login_process_per_connection: bool
    login_chroot: bool
    login_process_size_mib: int
    """0 means no limit."""
    login_seccomp: bool
    login_processes_count: int
    login_max_processes_count: int
    login_max_connections: int
    mail_max_userip_connections: int
    """0 means no limit."""
    login_timeout_s: int
    login_proxy_timeout_s: int
    login_proxy_max_reconnects: int
    proxy_host_immediate_failure_after_s: float
    """0 turns it off; a row may say otherwise."""
    login_source_ips: tuple[str, ...]
    """IP addresses; a `?` in front of the first lets those be skipped that cannot be bound."""
    login_trusted_networks: tuple[str, ...]
    """As `ipaddress.ip_network` reads them, here and in `haproxy_trusted_networks`."""
    haproxy: bool
    """Every connection begins with a header of the PROXY protocol."""
    haproxy_trusted_networks: tuple[str, ...]
    haproxy_timeout_s: int
    imap_id_log: bool
    verbose_proctitle: bool
    capability: str
    """`imap_capability` or `pop3_capability`; the default of the protocol when not set."""
    capability_is_limited: bool
    """Whether only that part is told to clients which all backends have; not when it was set."""
    auth_verbose: bool
    auth_debug: bool


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """A `passdb` or `userdb` block; `file` and `line` say where it begins."""

    driver: str
    args: str
    deny: bool = False
    pass_on: bool = False
    """The setting `pass`."""
    master: bool = False
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """A `client` block in `socket listen`; a `mode` of 0 means 0600, empty names leave the owner."""

    path: str
    mode: int
    user: str
    group: str


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """One `auth` section, names without `auth_`."""

    name: str
    mechanisms: tuple[str, ...]
    """Upper case, in configured order."""
    realms: tuple[str, ...]
    default_realm: str
    cache_size_bytes: int
    cache_ttl_s: int
    cache_negative_ttl_s: int
    user: str
    chroot: str
    username_chars: str
    username_translation: str
    username_format: str
    master_user_separator: str
    """Empty or one character."""
    anonymous_username: str
    verbose: bool
    debug: bool
    debug_passwords: bool
    ssl_require_client_cert: bool
    ssl_username_from_cert: bool
    count: int
    """Processes that share the users."""
    proxy_balance: str
    """One of BALANCES, for rows that do not say."""
    worker_max_count: int
    process_size_mib: int
    passdbs: tuple[DatabaseSettings, ...]
    userdbs: tuple[DatabaseSettings, ...]
    client_sockets: tuple[SocketSettings, ...]
    """Besides those in `login_dir`, which always exist."""

    @property
    def process_names(self) -> tuple[str, ...]:
        """The names of the section's processes and of their sockets in `login_dir`."""
        return (self.name, *(f"{self.name}.{number}" for number in range(2, self.count + 1)))


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration; `warnings` are for the log at start."""

    path: str
    base_dir: str
    log: LogSettings
    shutdown_clients: bool
    shutdown_grace_s: int
    logins: tuple[LoginSettings, ...]
    auths: tuple[AuthSettings, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SqlSettings:
    """A `dovecot-sql.conf`, read by auth alone: it holds the database's password."""

    path: str
    driver: str
    connect: str
    password_query: str
    user_query: str
    default_pass_scheme: str

    def __repr__(self) -> str:
        """Leave out `connect`, which holds a password."""
        return f"SqlSettings(path={self.path!r}, driver={self.driver!r})"
