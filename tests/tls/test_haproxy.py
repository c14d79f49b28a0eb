"""Debian's HAProxy in front of us, and what others send in its place."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.folder import open_folder
from tests.harness.ports import free_port
from tests.harness.proxy import HOST, greeting
from tests.harness.raw_client import RawClient
from tests.harness.scripted_backend import ScriptedBackend, imap_echo, pop3_echo
from tests.harness.wait import wait_until
from tests.tls.tls_proxy import TlsClient, TlsProxy

BALANCER = "127.0.0.40"
CLIENT = "127.0.0.7"
WORD = "Guest-Secret-33"
_CONFIGURATION = """\
global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
"""
_ENTRANCE = """\
listen {name}
  bind {host}:{port}
  source {source}
  server us {host}:{to} {send}
"""


class HaProxy:
    """Runs from the beginning to the end of its `with` block; `ports` are those in front."""

    def __init__(self, folder: Path, entrances: dict[str, tuple[int, str, str]]) -> None:
        """`entrances` have a name, and behind it a port of ours, an option and an address to come from."""
        self.ports = {name: free_port() for name in entrances}
        self._file = folder / "haproxy.cfg"
        text = _CONFIGURATION
        for name, (to, send, source) in entrances.items():
            text += _ENTRANCE.format(
                name=name, host=HOST, port=self.ports[name], to=to, send=send, source=source
            )
        self._file.write_text(text)
        self._output = folder / "output"

    def __enter__(self) -> HaProxy:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "haproxy", "-db", "-f", str(self._file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.terminate()
        self._process.wait(10)


@pytest.fixture
def backend() -> Iterator[ScriptedBackend]:
    """Where guest is."""
    with ScriptedBackend(imap_echo) as found:
        yield found
        found.check()


@pytest.mark.parametrize("mode", ["yes", "no"])
@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_pop3_behind_a_balancer(proxy: TlsProxy, option: str, mode: str) -> None:
    """The same for POP3, in the clear, by STLS and within TLS, in both modes of processes."""
    with ScriptedBackend(pop3_echo) as backend, open_folder("haproxy") as folder:
        proxy.add("guest", f"host={HOST} port={backend.port}", WORD)
        entrances = {
            "plain": (proxy.pop3_port, option, BALANCER),
            "tls": (proxy.pop3s_port, option, BALANCER),
            "stranger": (proxy.pop3_port, option, "127.0.0.41"),
            "imap": (proxy.imap_port, option, BALANCER),
        }
        with HaProxy(folder, entrances) as balancer:
            begin(proxy, balancer.ports["imap"], f"login_process_per_connection = {mode}\n")
            assert greeting(balancer.ports["stranger"]) == b""
            with RawClient(balancer.ports["plain"], source=CLIENT) as client:
                assert client.ask(b"USER guest\r\n").startswith(b"-ERR"), "the client is afar"
                assert client.ask(b"STLS\r\n").startswith(b"+OK")
                proxy.upgrade(client)
                ports = [pop3_login(client)]
            with TlsClient(proxy, balancer.ports["tls"], source=CLIENT) as client:
                ports.append(pop3_login(client))
            for port in ports:
                proxy.wait_log(f"user=<guest>, rip={CLIENT}, rport={port}")
        backend.check()


def pop3_login(client: RawClient) -> int:
    """Log in and return the client's own port."""
    port: int = client.socket.getsockname()[1]
    assert client.ask(b"USER guest\r\n") == b"+OK"
    assert client.ask(f"PASS {WORD}\r\n".encode()).startswith(b"+OK")
    assert client.ask(b"ping\r\n") == b"ping"
    return port


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_the_client_behind_a_balancer(proxy: TlsProxy, backend: ScriptedBackend, option: str) -> None:
    """Both versions, on a plain port and in front of TLS; who is not trusted is closed without a word."""
    proxy.add("guest", f"host={HOST} port={backend.port}", WORD)
    entrances = {
        "plain": (proxy.imap_port, option, BALANCER),
        "tls": (proxy.imaps_port, option, BALANCER),
        "stranger": (proxy.imap_port, option, "127.0.0.41"),
        "silent": (proxy.imap_port, "", BALANCER),
    }
    with open_folder("haproxy") as folder, HaProxy(folder, entrances) as balancer:
        begin(proxy, balancer.ports["plain"])
        assert greeting(balancer.ports["stranger"]) == b""
        proxy.wait_log("haproxy: Client not in haproxy_trusted_networks: rip=127.0.0.41")
        with RawClient(balancer.ports["plain"], source=CLIENT) as client:
            line = client.ask(b"a0 CAPABILITY\r\n")
            assert b"LOGINDISABLED" in line, "the client is afar, whatever the balancer's address is"
            assert client.line().startswith(b"a0 OK")
        with TlsClient(proxy, balancer.ports["tls"], source=CLIENT) as client:
            port = client.socket.getsockname()[1]
            assert client.ask(f"a1 LOGIN guest {WORD}\r\n".encode()).startswith(b"a1 OK")
            assert client.ask(b"ping\r\n") == b"ping"
        proxy.wait_log(f"user=<guest>, rip={CLIENT}, rport={port}")
        with RawClient(balancer.ports["silent"], greet=False) as client:
            client.send(b"a1 LOGIN guest x\r\n")
            assert client.rest() == b""
        proxy.wait_log("haproxy: Client dropped: ")


def begin(proxy: TlsProxy, port: int, more: str = "") -> None:
    """Start a proxy that greets only who comes through HAProxy."""
    proxy.begin(
        f"{more}haproxy = yes\nhaproxy_trusted_networks = {BALANCER}/32\nhaproxy_timeout = 2\n"
        "login_log_format_elements = user=<%u> rip=%r rport=%b",
        wait=False,
    )
    wait_until("mailproxy greets behind HAProxy", lambda: greeting(port).startswith(b"* OK"), 20)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.999 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2" + b" " * 100 + b"\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n\x11\x11\x00\x0c",
        b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + b"\x00" * 12,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
    ],
    ids=["no port", "no address", "long", "version 1 in 2", "endless", "TLS", "nothing"],
)
def test_headers_that_are_none(proxy: TlsProxy, backend: ScriptedBackend, header: bytes) -> None:
    """From a trusted address: closed in time, not a word, and the next client is served."""
    proxy.add("guest", f"host={HOST} port={backend.port}", WORD)
    entrances = {
        "plain": (proxy.imap_port, "send-proxy-v2", BALANCER),
        "tls": (proxy.imaps_port, "send-proxy-v2", BALANCER),
    }
    with open_folder("haproxy") as folder, HaProxy(folder, entrances) as balancer:
        begin(proxy, balancer.ports["plain"])
        with RawClient(proxy.imap_port, greet=False, source=BALANCER) as client:
            client.send(header)
            assert client.rest() == b""
        with TlsClient(proxy, balancer.ports["tls"]) as client:
            assert client.ask(f"a1 LOGIN guest {WORD}\r\n".encode()).startswith(b"a1 OK")
