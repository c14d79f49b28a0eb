from __future__ import annotations

from pathlib import Path

import pytest

from mailproxy.base.errors import ConfigError
from mailproxy.config.render import render

TEXT = """\
protocols = imap pop3
ssl_disable = no
ssl_key_password = hunter2
login_greeting = Ready.
umask = 077
local_name a.example.org *.b.example.org {
  ssl_cert_file = /b.crt
  ssl_key_password = hunter2
}
protocol pop3 {
  listen = *:10110
}
plugin {
  quota = maildir
}
auth default {
  user = nobody
  cache_size = 0x10
  passdb static {
    args = password=hunter2 proxy=y host=10.0.0.1 pass=hunter2
  }
  passdb passwd-file {
    args = /etc/denied
    deny = yes
  }
  userdb static {
    args = uid=0 gid=0
  }
  socket listen {
    client {
      path = /run/auth
      mode = 0660
    }
  }
}
"""
CHANGED = """\
# {path}
protocols: imap pop3
listen(default): *
listen(imap): *
listen(pop3): *:10110
ssl_key_password: <hidden>
login_greeting: Ready.
local_name a.example.org *.b.example.org:
  ssl_cert_file: /b.crt
  ssl_key_password: <hidden>
auth default:
  cache_size: 16
  user: nobody
  passdb:
    driver: static
    args: password=<hidden> proxy=y host=10.0.0.1 pass=<hidden>
  passdb:
    driver: passwd-file
    args: /etc/denied
    deny: yes
  userdb:
    driver: static
    args: uid=0 gid=0
  socket:
    type: listen
    client:
      path: /run/auth
      mode: 0660
plugin:
  quota: maildir
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "dovecot.conf"
    found.write_text(TEXT)
    return found


def test_what_differs_from_the_defaults(path: Path) -> None:
    assert render(str(path), show_all=False) == CHANGED.format(path=path)


def test_all_of_it(path: Path) -> None:
    lines = render(str(path), show_all=True).splitlines()
    assert lines[1] == "base_dir: /run/mailproxy"
    assert {"ssl_disable: no", "umask: 077", "  verbose: no", "    pass: no", "mail_location: "} < set(lines)
    assert not any("hunter2" in line for line in lines)


def test_certificates_of_one_protocol_are_marked(path: Path) -> None:
    block = "local_name a.example.org {\n  ssl_cert_file = /a.crt\n}\n"
    path.write_text(f"protocols = imap pop3\n{block}protocol imap {{\n{block}}}\nauth default {{\n}}\n")
    found = [line for line in render(str(path), show_all=False).splitlines() if line.startswith("local")]
    assert found == ["local_name(imap) a.example.org:"] * 2 + ["local_name(pop3) a.example.org:"]


def test_a_file_that_cannot_be_read_is_refused(path: Path) -> None:
    path.write_text("word\n")
    with pytest.raises(ConfigError, match="Expecting '='"):
        render(str(path), show_all=False)


def test_terminals_are_safe(path: Path) -> None:
    path.write_bytes(b"login_greeting = \x1b[2J\xff\nauth default {\n}\n")
    assert "login_greeting: \\x1b[2J\\xff" in render(str(path), show_all=False)
