"""What fields mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.auth.database import Row
from mailproxy.auth.fields import Account, is_forwardable, read_row, refused_network
from mailproxy.ipc.auth_protocol import parse_fields


def account(password: bytes | None = b"s", /, **fields: str) -> Account:
    return read_row(Row(password, {name.replace("pass_", "pass"): v for name, v in fields.items()}), "PLAIN")


def test_special_fields_stay_here() -> None:
    found = account(
        user="john", nodelay="", allow_nets="10.0.0.0/8", userdb_home="/x", proxy="N", host="10.1.2.3"
    )
    assert found.words == b"\tproxy\thost=10.1.2.3"
    assert (found.user, found.nodelay, found.allow_nets) == ("john", True, "10.0.0.0/8")
    assert found.fault == ""


def test_flags_have_no_value_and_others_pass_through() -> None:
    assert account(nologin="Y", reason="go away", extra="1").words == b"\tnologin\treason=go away\textra=1"


def test_empty_is_absent() -> None:
    """S06: empty host, port, destuser and pass count as not set."""
    found = account(proxy="", host="10.0.0.1", port="", destuser="", pass_="")
    assert found.words == b"\tproxy\thost=10.0.0.1"
    assert found.forwards_typed


def test_own_password_is_not_forwarded_beside_one_of_the_row() -> None:
    assert not account(proxy="", host="10.0.0.1", pass_="m").forwards_typed
    assert not account(nologin="").forwards_typed


@pytest.mark.parametrize("host", ["", "10.0.0.256", "10.0.0.1 x", "fe80::1%a\nb", "1.2.3.4:x", "mail.\r\n"])
def test_host_has_to_be_an_address_or_a_name(host: str) -> None:
    """A23: anything else is a fault, found without asking the name service."""
    assert "'host'" in account(proxy="", host=host).fault


def test_proxy_without_host() -> None:
    """A23, S06: NULL host."""
    assert "'host' is missing" in account(proxy="").fault


def test_spellings_of_an_address() -> None:
    assert account(proxy="", host="127.1").words == b"\tproxy\thost=127.0.0.1"
    assert account(proxy="", host="2001:DB8::1").words == b"\tproxy\thost=2001:db8::1"


@pytest.mark.parametrize("port", ["0", "70000", "143x", "-1", "65536", " 143", "\u0661"])
def test_port_has_to_be_a_port(port: str) -> None:
    """A23: ports outside 1 to 65535."""
    assert "'port'" in account(proxy="", host="10.0.0.1", port=port).fault


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b"])
@pytest.mark.parametrize("name", ["destuser", "pass_", "user"])
def test_line_ends_towards_a_backend(name: str, value: str) -> None:
    """C04: a fault that names the field and not its value."""
    fault = account(proxy="", host="10.0.0.1", **{name: "SECRET" + value}).fault
    assert f"'{name.rstrip('_')}'" in fault
    assert "SECRET" not in fault


def test_null_and_empty_passwords() -> None:
    """A22: NULL is any password, an empty string is nobody's, nopassword wants neither."""
    assert (account(None).stored, account(None).nobody) == (None, False)
    assert (account(b"").stored, account(b"").nobody) == (None, True)
    assert not account(b"", nopassword="").nobody
    assert account(b"x", nopassword="").fault == "nopassword set but password is non-empty"


def test_unknown_scheme_is_a_fault_without_the_hash() -> None:
    """A17: the log learns the scheme, never the data."""
    assert account(b"{X}y").fault == "Unknown password scheme X"
    assert account(b"{").fault == "Password scheme is missing its closing brace"
    assert "topsecret" not in account(b"{topsecret$hash of mine}x").fault


def test_text_that_cannot_be_sent_is_a_fault() -> None:
    """A13: a lone surrogate ends one login, not the process."""
    assert account(x="\ud800").fault == "a field is not valid text"


NAMES = (
    *(
        "proxy",
        "proxy_maybe",
        "host",
        "hostip",
        "port",
        "destuser",
        "pass",
        "user",
        "ssl",
        "starttls",
        "master",
    ),
    *("proxy_mech", "proxy_timeout", "proxy_balance", "proxy_alternatives", "source_ip", "nologin", "x"),
)
TEXTS = st.sampled_from(["", "10.0.0.1", "::1", "a,b:1", "yes", "5 s", "hash"]) | st.text(
    st.characters(codec=None), max_size=12
)


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS), st.booleans())
def test_any_row_is_an_account(fields: dict[str, str], proxied: bool) -> None:
    """A13, A23, C04: no exception; a fault fit for the log, or fields fit for the worker."""
    if proxied:
        fields = {"proxy": "", "host": "10.0.0.1", **fields}
    found = read_row(Row(b"s", fields), "PLAIN")
    assert found.fault.isascii()
    assert found.fault == "" or found.fault.isprintable()
    if found.fault:
        return
    sent = parse_fields(found.words.split(b"\t")[1:])
    assert b"\n" not in found.words
    if b"proxy" in sent:
        assert (b"host" in sent) == (found.destination is None)
        for name in (b"host", b"hostip", b"destuser", b"pass", b"master", b"proxy_mech", b"source_ip"):
            assert not set(sent.get(name, b"")) & set(b"\r\n\0")
        assert sent.get(b"ssl", b"yes") in (b"yes", b"any-cert")


def test_forwardable() -> None:
    """C01: what no backend may be sent."""
    assert is_forwardable(b'\xff "\\ \t')
    assert not any(is_forwardable(b"a" + byte) for byte in (b"\r", b"\n", b"\0"))


@pytest.mark.parametrize(
    ("nets", "ip", "refused"),
    [
        ("10.0.0.0/8", "10.1.2.3", ""),
        ("10.0.0.0/8", "::ffff:10.1.2.3", ""),
        ("192.168.0.1, 10.1.2.3", "10.1.2.3", ""),
        ("2001:db8::/32", "2001:db8::5", ""),
        ("10.0.0.0/8", "11.0.0.1", "IP not in allowed networks"),
        ("10.0.0.0/8", "", "Remote IP not known"),
        ("10.0.0.0/8", "rubbish", "Remote IP not known"),
        ("0.0.0.0/0", "2001:db8::5", "IP not in allowed networks"),
        ("nonsense", "10.1.2.3", "Invalid network 'nonsense'"),
        ("nonsense 10.0.0.0/8", "10.1.2.3", ""),
    ],
)
def test_allow_nets(nets: str, ip: str, refused: str) -> None:
    answer = refused_network(nets, ip, lambda _text: None)
    assert (refused in answer) if refused else answer == ""


def test_allow_nets_tells_what_it_tries() -> None:
    traced: list[str] = []
    refused_network("192.168.0.0/16, 10.0.0.0/8 11.0.0.0/8", "10.1.2.3", traced.append)
    matching = "allow_nets: Matching for network "
    assert traced == [matching + "192.168.0.0/16", matching + "10.0.0.0/8"]
