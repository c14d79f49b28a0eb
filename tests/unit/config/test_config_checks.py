from __future__ import annotations

import grp
import os
import pwd

import pytest

from mailproxy.config.settings import Address
from tests.unit.config.config_text import LINE, PAIR, Faults, Read

DATABASES = " passdb sql {\n }\n userdb static {\n }\n"


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("unheard_of = x\n", 1, "Unknown setting: unheard_of"),
        ("auth_unheard_of = x\n", 1, "Unknown setting: unheard_of"),
        ("login_max_logging_users = 5\n", 1, "Unknown setting: login_max_logging_users"),
        ("mechanisms = plain\n", 1, "Unknown setting: mechanisms (did you mean auth_mechanisms?)"),
        ("protocol imap {\n  unheard_of = x\n}\n", 2, "Unknown setting: unheard_of"),
        ("= x\n", 1, "Unknown setting: "),
        ("na\x1bme = x\n", 1, "Unknown setting: na\\x1bme"),
        ("remote x {\n  a = b\n}\n", 1, "Unknown section type"),
        ("passdb sql {\n}\n", 1, "Unknown section type"),
        ("protocol imaps {\n}\n", 1, "Unknown protocol name"),
        ("namespace own {\n}\n", 1, "Unknown namespace type"),
        ("namespace shared {\n  list = x\n}\n", 2, "Unknown setting: list"),
        ("protocol imap {\n  server x {\n  }\n}\n", 2, "Server section not allowed here"),
        ("protocol imap {\n  protocol pop3 {\n  }\n}\n", 2, "Protocol section not allowed here"),
        ("protocol imap {\n  auth x {\n  }\n}\n", 2, "Auth section not allowed here"),
        ("protocol imap {\n  namespace private {\n  }\n}\n", 2, "Namespace section not allowed here"),
        ("plugin {\n  dict {\n  }\n}\n", 2, "Plugin section not allowed here"),
        (
            "server x {\n  protocol imap {\n    y = z\n  }\n}\n",
            1,
            "server sections are not supported: start one mailproxy with its own file for each",
        ),
        ("login_processes_count = 0\n", 1, "login_processes_count must be at least 1"),
        ("login_max_processes_count = 0\n", 1, "login_max_processes_count must be at least 1"),
        ("login_max_connections = 0\n", 1, "login_max_connections must be at least 1"),
        ("login_timeout = 0\n", 1, "login_timeout must be at least 1"),
        ("max_mail_processes = 0\n", 1, "max_mail_processes must be at least 1"),
        ("syslog_facility = local8\n", 1, "Unknown syslog_facility 'local8'"),
        ("base_dir = run\n", 1, "base_dir must be an absolute path"),
        (
            "log_path = /nowhere/x.log\n",
            1,
            "Can't write to log directory /nowhere: No such file or directory",
        ),
        (
            "info_log_path = x.log\n",
            1,
            "Can't write to info log directory : not an absolute path",
        ),
        ("protocols =\n", 1, "No protocols given in configuration file"),
        ("protocols = imap smtp\n", 1, "Unknown protocol smtp (the known ones are imap, imaps, pop3, pop3s)"),
        ("protocols = imap imap\n", 1, "Protocol imap given more than once"),
        ("listen = *:143, *:143\n", 1, "Protocols imap and imap are listening in same ip/port"),
        ("ssl_listen = *:143\n", 1, "Protocols imap and imaps are listening in same ip/port"),
        (
            "protocols = imap pop3\nlisten = *:99\n",
            2,
            "Protocols imap and pop3 are listening in same ip/port",
        ),
        ("protocols = imap\nlisten = *:0\n", 2, "listen: Invalid port in address *:0"),
        ("protocols = imap\nlisten = *:http\n", 2, "listen: Invalid port in address *:http"),
        ("protocols = imap\nlisten = [::]x\n", 2, "listen: Invalid port in address [::]x"),
        ("protocols = imap\nlisten = [::\n", 2, "listen: Missing ']' in address [::"),
        (
            "protocols = imap\nlisten = mail.example.org\n",
            2,
            "listen: Can't resolve address mail.example.org: only IP addresses, '*' and '[::]' are taken",
        ),
        ("ssl_listen = *:x\n", 1, "ssl_listen: Invalid port in address *:x"),
        ("protocols = imap\nlisten = ,\n", 2, "listen: No IPs for address: ,"),
        ("auth_anonymous_username =\nauth_mechanisms = anonymous plain\n", 2,
         "ANONYMOUS listed in mechanisms, but anonymous_username not given"),
        ("auth_mechanisms =\n", 1, "No authentication mechanisms configured"),
    ],
)  # fmt: skip
def test_one_fault_at_its_line(faults: Faults, text: str, line: int, fault: str) -> None:
    assert faults(text) == [LINE.format(line, fault)]


@pytest.mark.parametrize(
    ("text", "line", "proposed"),
    [
        ("ssl_crt_file = x\n", 1, "ssl_crt_file (did you mean ssl_cert_file or ssl_ca_file?)"),
        ("log_paths = x\n", 1, "log_paths (did you mean log_path?)"),
        ("auth_mechanism = plain\n", 1, "mechanism (did you mean mechanisms?)"),
        ("auth x {\n  mechanism = plain\n}\n", 2, "mechanism (did you mean mechanisms?)"),
        ("auth x {\n  passdb sql {\n    arg = /x\n  }\n}\n", 3, "arg (did you mean args?)"),
        (
            "local_name a {\n  ssl_key_fil = x\n}\n",
            2,
            "ssl_key_fil (did you mean ssl_key_file or ssl_cert_file?)",
        ),
    ],
)
def test_what_an_unknown_name_may_be_meant_to_be(faults: Faults, text: str, line: int, proposed: str) -> None:
    """Only names that the same place knows."""
    assert LINE.format(line, f"Unknown setting: {proposed}") in faults(text)


def test_faults_of_all_kinds_are_told_at_once(faults: Faults) -> None:
    """But not of files that nobody will open: with TLS off a certificate may be missing."""
    text = "proxy_balance = nonsense\nssl_cert_file = /no/cert.pem\nverbose_ssl = maybe\nunheard_of = x\n"
    found = [
        "proxy_balance must be one of first, hash, least: nonsense",
        "Can't use SSL certificate /no/cert.pem: No such file or directory",
        "Invalid boolean: maybe (verbose_ssl takes yes or no)",
        "Unknown setting: unheard_of",
    ]
    told = [LINE.format(line, fault) for line, fault in enumerate(found, 1)]
    assert [one for one in faults(text) if one in told] == told
    without_tls = [LINE.format(line, found[line - 2]) for line in (2, 4, 5)]
    assert faults("ssl = no\n" + text) == without_tls


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        (
            "haproxy = yes\n",
            1,
            "haproxy = yes without haproxy_trusted_networks lets nobody in:"
            " set it to the addresses of the load balancers",
        ),
        (
            "haproxy = yes\nhaproxy_trusted_networks = ::1 10.0.0.0/33\n",
            2,
            "haproxy_trusted_networks: Invalid network 10.0.0.0/33:"
            " give an IP address, or one and its bits, such as 192.0.2.0/24",
        ),
        (
            "protocol pop3 {\n  login_trusted_networks = lb.example.org\n}\n",
            2,
            "login_trusted_networks: Invalid network lb.example.org:"
            " give an IP address, or one and its bits, such as 192.0.2.0/24",
        ),
        (
            "login_trusted_networks = 10.0.0.0/255.0.0.0\n",
            1,
            "login_trusted_networks: Invalid network 10.0.0.0/255.0.0.0:"
            " give an IP address, or one and its bits, such as 192.0.2.0/24",
        ),
        ("login_source_ips = 10.0.0.1 ?::1\n", 1, "login_source_ips: ?::1 is not an IP address"),
        ("login_source_ips = 10.0.0.0/8\n", 1, "login_source_ips: 10.0.0.0/8 is not an IP address"),
        ("login_source_ips = ?\n", 1, "login_source_ips: no address follows the ?"),
        ("haproxy_timeout = 0\n", 1, "haproxy_timeout must be at least 1"),
        (
            "login_proxy_max_reconnects = -1\n",
            1,
            "Invalid number: -1 (login_proxy_max_reconnects takes a number, at least 0)",
        ),
        (
            "ssl_client_ca_file = /no/ca.pem\n",
            1,
            "Can't use SSL CA file /no/ca.pem: No such file or directory",
        ),
        (
            "ssl = no\nssl_client_ca_file = /no/ca.pem\n",
            2,
            "Can't use SSL CA file /no/ca.pem: No such file or directory",
        ),
    ],
)
def test_one_fault_about_peers(faults: Faults, text: str, line: int, fault: str) -> None:
    assert faults(text) == [LINE.format(line, fault)]


def test_peers_differ_between_protocols(read: Read) -> None:
    text = (
        "protocols = imap pop3\nlogin_trusted_networks = 10.1.2.3/8, 2001:DB8::/32 192.0.2.7\n"
        "login_source_ips = ? 10.0.0.1,2001:DB8::1\nimap_id_log = *\nlogin_proxy_max_reconnects = 0\n"
        "protocol pop3 {\n  haproxy = yes\n  haproxy_trusted_networks = 127.0.0.1\n  haproxy_timeout = 7\n"
        "  login_source_ips = 10.0.0.2\n}\n"
    )
    imap, pop3 = read(text).logins
    assert imap.login_trusted_networks == ("10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32")
    assert imap.login_source_ips == ("?10.0.0.1", "2001:db8::1")
    assert (imap.haproxy, imap.haproxy_trusted_networks, imap.haproxy_timeout_s) == (False, (), 3)
    assert (imap.imap_id_log, imap.login_proxy_max_reconnects) == (True, 0)
    assert (pop3.haproxy, pop3.haproxy_trusted_networks, pop3.haproxy_timeout_s) == (
        True,
        ("127.0.0.1/32",),
        7,
    )
    assert pop3.login_source_ips == ("10.0.0.2",)
    (plain,) = read("protocols = imap\n").logins
    assert (plain.login_trusted_networks, plain.login_source_ips, plain.imap_id_log) == ((), (), False)
    assert (plain.login_proxy_max_reconnects, plain.tls.ssl_client_ca_file) == (3, "")


@pytest.mark.parametrize(
    ("auth", "line", "fault"),
    [
        ("auth a/b {\n}\n", 1, "Authentication process name must not contain '/'"),
        ("auth {\n}\n", 1, "Authentication process name must not be empty or start with '.'"),
        (
            "auth default {\n passdb x {\n }\n userdb y {\n }\n}\n",
            1,
            "Authentication process already exists with the same name",
        ),
    ],
)
def test_auth_sections_have_names_of_their_own(faults: Faults, auth: str, line: int, fault: str) -> None:
    first = f"auth default {{\n{DATABASES}}}\n"
    assert faults(first, auth=auth) == [LINE.format(line + 6, fault)]


@pytest.mark.parametrize(
    ("inside", "line", "fault"),
    [
        (" socket pipe {\n }\n", 2, "Unknown auth socket type"),
        (
            " socket connect {\n  master {\n   path = /x\n  }\n }\n",
            2,
            "socket connect is not supported: give the auth section passdbs of its own",
        ),
        (" socket listen {\n  path = /x\n }\n", 3, "Unknown setting: path"),
        (" socket listen {\n  other {\n  }\n }\n", 3, "Unknown section type"),
        (" socket listen {\n  client {\n   mode = 01000\n  }\n }\n", 4, "Invalid mode: 0o1000"),
        (" namespace private {\n }\n", 2, "Namespace section not allowed here"),
        (" login_user = x\n", 2, "Unknown setting: login_user"),
        (" passdb sql {\n  user = x\n }\n", 3, "Unknown setting: user"),
        (" passdb sql {\n  deny = true\n }\n", 3, "Invalid boolean: true (deny takes yes or no)"),
        (" userdb static {\n  deny = yes\n }\n", 3, "Unknown setting: deny"),
        (" passdb {\n }\n", 2, "passdb has no driver"),
        (" passdb sql {\n  deny = yes\n  master = yes\n }\n", 3, "Master passdb can't have deny=yes"),
    ],
)
def test_one_fault_in_an_auth_section(faults: Faults, inside: str, line: int, fault: str) -> None:
    assert faults(f"auth default {{\n{inside}{DATABASES}}}\n", auth="") == [LINE.format(line, fault)]


def test_an_auth_section_needs_databases(faults: Faults) -> None:
    assert faults("auth default {\n}\n", auth="") == [
        LINE.format(1, "You'll need to add at least one userdb"),
        LINE.format(1, "No passdbs specified in configuration file. PLAIN mechanism needs one"),
    ]
    assert faults("auth default {\n mechanisms = anonymous\n userdb static {\n }\n}\n", auth="") == []


def test_the_last_passdb_must_decide(faults: Faults) -> None:
    auth = f"auth default {{\n{DATABASES} passdb sql {{\n  pass = yes\n }}\n}}\n"
    assert faults(auth, auth="") == [LINE.format(7, "Last passdb can't have pass=yes")]


def test_an_auth_section_is_missing(faults: Faults) -> None:
    assert faults("", auth="") == ["Missing auth section for server default"]


def test_protocols_that_none_knows(faults: Faults) -> None:
    assert faults("protocols = smtp\n") == [
        LINE.format(1, "Invalid protocols given in configuration file"),
        LINE.format(1, "Unknown protocol smtp (the known ones are imap, imaps, pop3, pop3s)"),
    ]


def test_every_fault_is_told_at_once(faults: Faults) -> None:
    text = "protocols = imap lmtp\na = b\nword\nverbose_ssl = 1\nlogin_processes_count = 0\n}\n"
    assert [fault.split("line ")[1][0] for fault in faults(text)] == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize(
    ("text", "plain", "tls"),
    [
        ("", [("*", 143)], [("*", 993)]),
        ("listen = *:10143\n", [("*", 10143)], [("*", 993)]),
        ("listen = [::]\n", [("::", 143)], [("::", 993)]),
        ("listen = [2001:DB8::1]:10143\n", [("2001:db8::1", 10143)], [("2001:db8::1", 993)]),
        ("listen = 2001:db8::1\n", [("2001:db8::1", 143)], [("2001:db8::1", 993)]),
        ("ssl_listen = 10.0.0.1\n", [("*", 143)], [("10.0.0.1", 993)]),
        ("ssl_listen = 10.0.0.1:1993\n", [("*", 143)], [("10.0.0.1", 1993)]),
        ("listen = 10.0.0.1, 10.0.0.2:99 ::1\n", [("10.0.0.1", 143), ("10.0.0.2", 99), ("::1", 143)],
         [("10.0.0.1", 993), ("10.0.0.2", 993), ("::1", 993)]),
        ("listen = *:1 *:2\n", [("*", 1), ("*", 2)], [("*", 993)]),
        ("protocol imap {\n  listen = *:10143\n}\n", [("*", 10143)], [("*", 993)]),
        ("ssl_disable = yes\n", [("*", 143)], []),
        ("ssl = no\n", [("*", 143)], []),
        ("protocols = imap\n", [("*", 143)], []),
    ],
)  # fmt: skip
def test_addresses(read: Read, text: str, plain: list[tuple[str, int]], tls: list[tuple[str, int]]) -> None:
    (login,) = read(text + PAIR).logins
    assert login.listen == tuple(Address(*pair) for pair in plain)
    assert login.ssl_listen == tuple(Address(*pair) for pair in tls)


def test_tls_alone_without_tls_serves_nothing(read: Read) -> None:
    assert read("protocols = imaps\nssl_disable = yes\n").logins == ()


USERS = {"dovecot": (101, 101), "other": (102, 102), "nobody": (65534, 65534), "root": (0, 0)}


@pytest.fixture
def _root(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    def getpwnam(name: str) -> pwd.struct_passwd:
        uid, gid = USERS[name]
        return pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/false"))

    def getgrgid(gid: int) -> grp.struct_group:
        name = next(name for name, ids in USERS.items() if ids[1] == gid)
        return grp.struct_group((name, "x", gid, []))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    monkeypatch.setattr(grp, "getgrgid", getgrgid)


@pytest.mark.usefixtures("_root")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("login_user = gone\n", [LINE.format(1, "Login user doesn't exist: gone")]),
        ("login_user = root\n", [LINE.format(1, "login_user must not be root")]),
        (
            "login_user = nobody\n",
            [LINE.format(3, "login_user nobody (uid 65534) must not be same as auth_user")],
        ),
        (
            "protocols = imap pop3\nprotocol pop3 {\n  login_user = other\n}\n",
            ["All login process users must belong to same group (dovecot vs other)"],
        ),
        (
            "auth_chroot = /no/jail\n",
            [LINE.format(1, "Can't access auth chroot directory /no/jail: No such file or directory")],
        ),
    ],
)
def test_root_looks_for_the_users(faults: Faults, text: str, expected: list[str]) -> None:
    assert faults(text) == expected


@pytest.mark.usefixtures("_root")
def test_the_auth_user_must_exist(faults: Faults) -> None:
    assert faults(f"auth default {{\n user = gone\n{DATABASES}}}\n", auth="") == [
        LINE.format(2, "Auth user doesn't exist: gone")
    ]


def test_nobody_else_looks_for_the_users(read: Read) -> None:
    assert read("login_user = gone\nauth_chroot = /no/jail\n").logins[0].login_user == "gone"


def test_process_names_of_sections_that_meet(read: Read, faults: Faults) -> None:
    """The second process of `auth one` would take the socket of `auth one.2`."""
    two = f"auth one {{\n count = COUNT\n{DATABASES}}}\nauth one.2 {{\n{DATABASES}}}\n"
    assert {"one", "one.2"} <= {auth.name for auth in read(two.replace("COUNT", "1")).auths}
    text = "the name is that of process 2 of auth section one: take another"
    assert any(text in fault for fault in faults(two.replace("COUNT", "2")))
