"""Which addresses a user's server has, and which others are tried."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mailproxy.auth.destination import fields_of
from mailproxy.auth.target_fields import Destination, parse_servers


def fields(
    hosts: str,
    resolved: Mapping[str, tuple[str, ...]],
    *,
    port: str = "",
    source_ip: str = "",
    service: str = "imap",
    tls: bool = False,
) -> dict[str, str]:
    servers = parse_servers(hosts, port)
    return fields_of(Destination(servers, "first", source_ip, tls), servers, service, resolved)


def test_fields() -> None:
    hosts = "mail,10.0.0.2:1143,[::2]:993,other"
    resolved = {"mail": ("10.0.0.1", "::1"), "other": ("10.0.0.3", "::3")}
    assert fields(hosts, resolved, port="143") == {
        "host": "mail",
        "hostip": "10.0.0.1,::1",
        "port": "143",
        "proxy_alternatives": "10.0.0.2/10.0.0.2/1143 ::2/::2/993 other/10.0.0.3/143 other/::3/143",
    }
    assert fields(hosts, resolved, port="143", source_ip="10.0.0.9") == {
        "host": "mail",
        "hostip": "10.0.0.1",
        "port": "143",
        "proxy_alternatives": "10.0.0.2/10.0.0.2/1143 other/10.0.0.3/143",
    }


@pytest.mark.parametrize(
    ("service", "tls", "port"),
    [("imap", False, "143"), ("imap", True, "993"), ("pop3", False, "110"), ("pop3", True, "995")],
)
def test_port_of_one_server_is_not_that_of_the_next(service: str, tls: bool, port: str) -> None:
    found = fields("10.0.0.1:7,10.0.0.2", {}, service=service, tls=tls)
    assert (found["port"], found["proxy_alternatives"]) == ("7", "10.0.0.2/10.0.0.2/" + port)
    found = fields("10.0.0.1,10.0.0.2,10.0.0.3:7", {}, service=service, tls=tls)
    assert found == {
        "host": "10.0.0.1",
        "proxy_alternatives": "10.0.0.2/10.0.0.2/ 10.0.0.3/10.0.0.3/7",
    }


def test_servers_without_an_address_are_left_out() -> None:
    """B01: one name that DNS does not know keeps nobody from the other servers."""
    assert fields("mail,10.0.0.2", {"mail": ()}) == {"host": "10.0.0.2"}
    assert fields("mail,10.0.0.2", {"mail": ()}, source_ip="::1") == {}


def test_line_stays_short() -> None:
    hosts = [f"{'x' * 60}.{'y' * 60}.{'z' * 60}.h{number}" for number in range(16)]
    resolved = dict.fromkeys(hosts, ("2001:db8:1111:2222:3333:4444:5555:6666",) * 8)
    assert len(fields(",".join(hosts), resolved, port="65535")["proxy_alternatives"]) < 20000
