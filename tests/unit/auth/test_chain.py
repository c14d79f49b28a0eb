"""Flags of passdb entries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailproxy.auth.chain import open_chain
from mailproxy.base.errors import ConfigError
from mailproxy.config.settings import DatabaseSettings
from tests.unit.auth.auth_child import SETTINGS, Table


def database(*, deny: bool = False, pass_on: bool = False, master: bool = False) -> DatabaseSettings:
    return DatabaseSettings("table", "same", deny, pass_on, master, "dovecot.conf", 3)


def problems(*databases: DatabaseSettings, table: Table | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        open_chain(replace(SETTINGS, passdbs=databases), lambda _database: table or Table({}))
    return str(caught.value)


def test_flags_belong_to_the_entry() -> None:
    """A21: equal driver and args, different flags and numbers."""
    databases = (database(deny=True), database(master=True, pass_on=True), database())
    chain = open_chain(replace(SETTINGS, passdbs=databases), lambda _database: Table({}))
    assert [(link.number, link.deny, link.pass_on) for link in chain.ordinary] == [
        (0, True, False),
        (2, False, False),
    ]
    assert [(link.number, link.pass_on) for link in chain.masters] == [(1, True)]
    assert len(chain.links) == 3


def test_refused_at_start() -> None:
    assert problems() == "No passdbs specified in configuration file. PLAIN mechanism needs one"
    assert "Master passdb can't have deny=yes" in problems(database(master=True, deny=True), database())
    assert "Last passdb can't have pass=yes" in problems(database(), database(pass_on=True))
    assert "PLAIN mechanism can't be supported with given passdbs" in problems(database(deny=True))
    assert "dovecot.conf line 3" in problems(database(), database(pass_on=True))


def test_key_without_a_user_is_refused() -> None:
    """A01: one user's row for everybody."""
    assert "does not contain the user name" in problems(database(), table=Table({}, key=("s",)))


def test_what_was_open_is_closed_when_a_later_one_fails() -> None:
    closed: list[str] = []

    class Closing(Table):
        def close(self) -> None:
            closed.append(self.driver)

    tables = iter([Closing({}, driver="first")])

    def open_one(_database: DatabaseSettings) -> Table:
        try:
            return next(tables)
        except StopIteration:
            raise ConfigError([]) from None

    with pytest.raises(ConfigError):
        open_chain(replace(SETTINGS, passdbs=(database(), database())), open_one)
    assert closed == ["first"]
