"""What tests of TLS share: an authority, real servers behind TLS, and proxies in front of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.dovecot import DovecotBackend
from tests.harness.folder import open_folder
from tests.harness.tls import Authority
from tests.tls.tls_proxy import TlsProxy

JOHN, JOHN_WORD = "john", "John-Secret-11"
TRUSTS_US = "login_trusted_networks = 127.0.0.1\nverbose_ssl = yes\n"


class TrustingDovecot(DovecotBackend):
    """Believes what the proxy's address says about clients."""

    def _write(self) -> None:
        super()._write()
        with (self.folder / "dovecot.conf").open("a") as file:
            file.write(TRUSTS_US)


@pytest.fixture(scope="session")
def authority() -> Iterator[Authority]:
    """Who signs everything."""
    with open_folder("ca") as folder:
        yield Authority(folder)


@pytest.fixture(scope="session")
def dovecot(authority: Authority) -> Iterator[DovecotBackend]:
    """John's server, with TLS on all ports.

    Its certificate is for imap.example.org, not for its address.
    """
    pair = authority.issue("imap.example.org")
    with TrustingDovecot("tls", {JOHN: JOHN_WORD}, lambda _host: pair) as backend:
        yield backend


@pytest.fixture
def proxy(authority: Authority) -> Iterator[TlsProxy]:
    """A proxy yet to be given users and started."""
    with TlsProxy(authority) as installation:
        installation.secrets.add(JOHN_WORD)
        yield installation
