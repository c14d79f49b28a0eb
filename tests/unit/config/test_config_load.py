from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mailproxy.base.errors import ConfigError
from mailproxy.config.load import load
from mailproxy.config.settings import Address, Settings
from tests.unit.config.config_text import Faults, Read

DOCUMENT = """\
# If you want to trade a bit of security for higher performance, change these
settings:
login_process_per_connection = no
login_processes_count = 20

# If you are not moving mailboxes from host to one on daily basis you can
# use authentication cache pretty safely.
auth_cache_size = 4096

auth default {
  mechanisms = plain

  # dovecot-auth only needs to be able to connect to SQL
  user = nobody

  # Userdb settings are not used with proxy but there need to be something.
  userdb static {
    args = uid=0 gid=0
  }
  passdb sql {
    args = /usr/local/etc/dovecot-sql.conf
  }
}
"""


def test_the_wrapped_comment_of_the_document_is_one_fault(faults: Faults) -> None:
    assert faults(DOCUMENT, auth="") == [
        "Error in configuration file file line 2: Expecting '=': "
        "the comment of line 1 seems to be wrapped, this line needs a '#' too"
    ]


def test_the_document_loads_once_its_comment_is_mended(read: Read) -> None:
    settings = read(DOCUMENT.replace("\nsettings:", "\n# settings:"), auth="")
    (login,), (auth,) = settings.logins, settings.auths
    assert (login.protocol, login.listen, login.ssl_listen) == ("imap", (Address("*", 143),), ())
    assert (login.login_process_per_connection, login.login_processes_count) == (False, 20)
    assert (login.disable_plaintext_auth, login.tls.ssl_disable) == (True, True)
    assert (auth.name, auth.mechanisms, auth.user) == ("default", ("PLAIN",), "nobody")
    assert auth.cache_size_bytes == 4096 * 1024
    assert [(one.driver, one.args, one.line) for one in (*auth.passdbs, *auth.userdbs)] == [
        ("sql", "/usr/local/etc/dovecot-sql.conf", 20),
        ("static", "uid=0 gid=0", 17),
    ]
    assert settings.warnings == (
        "imaps is not served: TLS has no certificate, set ssl_cert_file and ssl_key_file"
        " (ssl = no silences this)",
    )


@pytest.mark.parametrize(
    ("text", "size"),
    [("60s", 60), ("4096 KB", 4096), ("010", 8), ("0x10", 16), ("+7", 7), ("08", 0), ("-0", 0), ("0xg", 0)],
)
def test_numbers_are_scanned_like_c(read: Read, text: str, size: int) -> None:
    (auth,) = read(f"auth_cache_size = {text}\n").auths
    assert auth.cache_size_bytes == size * 1024


@pytest.mark.parametrize("text", ["-1", "", "many", "99999999999", "x10"])
def test_what_is_no_number_is_refused(faults: Faults, text: str) -> None:
    assert faults(f"\nauth_cache_size = {text}\n") == [
        f"Error in configuration file file line 2: Invalid number: {text}"
        " (auth_cache_size takes a number of KiB, at least 0)"
    ]


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("NO", False), ("Yes", True)])
def test_booleans_are_yes_and_no(read: Read, text: str, value: bool) -> None:
    assert read(f"shutdown_clients = {text}\n").shutdown_clients is value


@pytest.mark.parametrize("text", ["true", "1", "on", ""])
def test_no_other_word_is_a_boolean(faults: Faults, text: str) -> None:
    assert faults(f"ssl_disable = {text}\n") == [
        f"Error in configuration file file line 1: Invalid boolean: {text} (ssl_disable takes yes or no)"
    ]


def test_a_later_line_wins_but_its_fault_is_told_all_the_same(read: Read, faults: Faults) -> None:
    assert read("login_greeting = one\nlogin_greeting = two\n").logins[0].login_greeting == "two"
    assert faults("verbose_ssl = maybe\nverbose_ssl = no\n") == [
        "Error in configuration file file line 1: Invalid boolean: maybe (verbose_ssl takes yes or no)"
    ]


def test_a_protocol_section_changes_its_copy_and_a_later_root_line_changes_both(read: Read) -> None:
    text = "protocols = imap pop3\nlogin_user = a\nprotocol pop3 {\n  login_user = b\n}\n"
    assert [login.login_user for login in read(text).logins] == ["a", "b"]
    assert [login.login_user for login in read(text + "login_user = c\n").logins] == ["c", "c"]


def test_the_filter_of_a_protocol_outlives_a_section_within(read: Read) -> None:
    text = "protocols = imap pop3\nprotocol pop3 {\n  plugin {\n    a = b\n  }\n  login_user = b\n}\n"
    assert [login.login_user for login in read(text).logins] == ["dovecot", "b"]


def test_root_auth_settings_are_defaults_before_and_belong_to_the_last_section_after(read: Read) -> None:
    one = "auth one {\n  passdb sql {\n  }\n  userdb static {\n  }\n}\n"
    text = f"auth_cache_ttl = 10\n{one}{one.replace('one', 'two')}auth_cache_ttl = 20\nauth_verbose = yes\n"
    auths = read(text, auth="").auths
    assert [(auth.name, auth.cache_ttl_s, auth.verbose) for auth in auths] == [
        ("one", 10, False),
        ("two", 20, True),
    ]


def test_the_prefix_is_optional_within_an_auth_section(read: Read) -> None:
    auth = (
        "auth default {\n auth_realms = a b\n default_realm = c\n passdb sql {\n }\n userdb static {\n }\n}\n"
    )
    (found,) = read("", auth=auth).auths
    assert (found.realms, found.default_realm) == (("a", "b"), "c")


def test_passdbs_repeat_in_order_with_flags_of_their_own(read: Read) -> None:
    """A21: flags belong to the entry, also with equal driver and args."""
    auth = (
        "auth default {\n passdb SQL {\n  args = /a\n  deny = yes\n }\n passdb sql {\n  args = /a\n }\n"
        " passdb sql {\n  args = /m\n  master = yes\n  pass = yes\n }\n passdb passwd-file {\n }\n"
        " userdb prefetch {\n }\n}\n"
    )
    (found,) = read("", auth=auth).auths
    assert [(one.driver, one.args, one.deny, one.pass_on, one.master) for one in found.passdbs] == [
        ("sql", "/a", True, False, False),
        ("sql", "/a", False, False, False),
        ("sql", "/m", False, True, True),
        ("passwd-file", "", False, False, False),
    ]


def test_client_sockets_are_taken(read: Read) -> None:
    auth = (
        "auth default {\n passdb sql {\n }\n userdb static {\n }\n socket listen {\n"
        "  master {\n   path = /m\n  }\n"
        "  client {\n   path = /c\n   mode = 0660\n   group = mail\n  }\n }\n}\n"
    )
    settings = read("ssl_disable = yes\n", auth=auth)
    (socket,) = settings.auths[0].client_sockets
    assert (socket.path, socket.mode, socket.user, socket.group) == ("/c", 0o660, "", "mail")
    assert settings.warnings == ("ignored: there is no socket for mail processes: socket listen master path",)


def test_an_auth_line_begins_a_section_in_the_old_way(faults: Faults, read: Read) -> None:
    assert faults("auth = old\nauth_mechanisms = login\n", auth="") == [
        "Error in configuration file file line 1: You'll need to add at least one userdb",
        "Error in configuration file file line 1: No passdbs specified in configuration file."
        " LOGIN mechanism needs one",
    ]
    assert read("login = imap\n").warnings[0].startswith("Ignoring deprecated 'login' section handling.")


def test_debug_passwords_imply_debug_and_debug_implies_verbose(read: Read) -> None:
    settings = read("auth_debug_passwords = yes\n")
    auth, login = settings.auths[0], settings.logins[0]
    assert (auth.debug, auth.verbose, login.auth_debug, login.auth_verbose) == (True, True, True, True)


def test_paths_are_relative_to_base_dir(read: Read) -> None:
    settings = read("base_dir = /srv/proxy\nlogin_dir = in\nauth_chroot = jail\n")
    assert (settings.logins[0].login_dir, settings.auths[0].chroot) == ("/srv/proxy/in", "/srv/proxy/jail")
    assert read("login_dir = /run/in\n").logins[0].login_dir == "/run/in"


def test_the_negative_ttl_follows_the_ttl_until_it_is_set(read: Read) -> None:
    assert read("auth_cache_ttl = 60\n").auths[0].cache_negative_ttl_s == 60
    assert read("auth_cache_ttl = 60\nauth_cache_negative_ttl = 0\n").auths[0].cache_negative_ttl_s == 0


def test_process_wide_values_come_from_the_first_active_protocol(read: Read) -> None:
    text = "protocols = pop3\nprotocol pop3 {\n  log_path = /dev/stderr\n}\n"
    settings = read(text)
    assert settings.log.log_path == "/dev/stderr"
    assert "log_path holds for all processes" in settings.warnings[0]


def test_capabilities_have_a_default_for_each_protocol(read: Read) -> None:
    imap, pop3 = read("protocols = imap pop3\npop3_capability = UIDL\n").logins
    assert imap.capability.startswith("IMAP4rev1 SASL-IR")
    assert pop3.capability == "UIDL"


def test_protocols_none_means_auth_alone(read: Read) -> None:
    assert read("protocols = none\n").logins == ()


def test_storage_settings_load_with_one_warning_for_each_reason(read: Read) -> None:
    text = (
        "ssl_disable = yes\nmail_location = maildir:~/Maildir\nmbox_read_locks = flock\nnfs_check = yes\n"
        "protocol imap {\n  mail_plugins = quota\n  imap_client_workarounds = delay-newmail\n}\n"
        "protocol lda {\n  postmaster_address = a@example.org\n  anything = goes\n}\n"
        "namespace private {\n  separator = /\n  inbox = yes\n}\nplugin {\n  quota = maildir\n}\n"
        "dict {\n  x = y\n}\n"
    )
    assert read(text).warnings == (
        "ignored: a proxy has no mail storage: mail_location, mbox_read_locks, namespace,"
        " protocol lda, plugin, dict",
        "ignored: a proxy starts no mail processes: mail_plugins",
        "ignored: the backend does this after login: imap_client_workarounds",
    )


def test_a_small_process_size_is_raised_with_one_warning(read: Read) -> None:
    settings = read("ssl_disable = yes\nprotocols = imap pop3\nlogin_process_size = 32\n")
    assert [login.login_process_size_mib for login in settings.logins] == [256, 256]
    assert settings.warnings == ("login_process_size = 32 is less than Python needs, using 256",)
    assert read("login_process_size = 0\n").logins[0].login_process_size_mib == 0
    assert read("login_process_size = 512\n").logins[0].login_process_size_mib == 512


def test_a_file_with_secrets_that_all_can_read_is_named(read: Read, tmp_path: Path) -> None:
    """V11: a world-readable file with secrets gets a warning."""
    sql = tmp_path / "sql.conf"
    sql.write_text("")
    auth = f"auth default {{\n passdb sql {{\n  args = {sql}\n }}\n userdb static {{\n }}\n}}\n"
    sql.chmod(0o644)
    assert read("ssl_disable = yes\n", auth=auth).warnings == (
        f"{sql} holds secrets and is readable by every user: chmod 0640 or less",
    )
    userdb = auth.replace("passdb sql", "passdb static").replace(f"args = {sql}", "args = nopassword=y")
    userdb = userdb.replace("userdb static {", f"userdb sql {{\n  args = {sql}")
    assert [warning.partition(" ")[0] for warning in read("ssl_disable = yes\n", auth=userdb).warnings] == [
        str(sql)
    ]
    sql.chmod(0o640)
    assert read("ssl_disable = yes\n", auth=auth).warnings == ()
    assert read("ssl_disable = yes\n", auth=userdb).warnings == ()


@pytest.mark.parametrize(
    ("args", "count"), [("password=s proxy=y", 1), ("nopassword=y pass=s", 1), ("nopassword=y host=pass", 0)]
)
def test_a_configuration_with_secrets_that_all_can_read_is_named(read: Read, args: str, count: int) -> None:
    """V11: one answer for all users may have a password in it."""
    auth = f"auth default {{\n passdb static {{\n  args = {args}\n }}\n userdb static {{\n }}\n}}\n"
    warnings = read("ssl_disable = yes\n", auth=auth).warnings
    assert len(warnings) == count
    assert all("dovecot.conf holds secrets and is readable by every user" in warning for warning in warnings)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_settings_or_problems(tmp_path: Path, content: bytes) -> None:
    _load_or_refuse(tmp_path / "dovecot.conf", content)


WORDS = st.sampled_from(
    b"auth passdb socket client protocol imap listen = { } ' # yes 0x default !include dovecot.conf protocols"
    b' * [::] : namespace plugin auth_user mode server userdb ssl_disable \xff 9 \\ "'.split()
)
GAPS = st.sampled_from([b"", b" ", b"\n", b"\r\n"])


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(WORDS, GAPS), max_size=60))
def test_any_words_give_settings_or_problems(tmp_path: Path, words: list[tuple[bytes, bytes]]) -> None:
    _load_or_refuse(tmp_path / "dovecot.conf", b"".join(word + gap for word, gap in words))


def _load_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        assert isinstance(load(str(path)), Settings)
    except ConfigError as error:
        texts = [str(problem) for problem in error.problems]
    else:
        return
    assert texts
    assert all(text.isascii() and text.isprintable() for text in texts)


def test_the_master_imports_nothing_heavy() -> None:
    code = (
        "import sys; import mailproxy.config.load;"
        "print(*sorted({'asyncio', 'sqlalchemy', 'ssl', 'random', 'threading'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
