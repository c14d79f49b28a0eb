"""The name of the control socket."""

from __future__ import annotations

import os

from mailproxy.base.level import Level
from mailproxy.ipc.control import SOCKET_NAME
from mailproxy.net.reactor import Reactor
from mailproxy.process.control import Actions, Control
from tests.harness.folder import open_folder

NONE = Actions(
    *(str, list, lambda _order, _argument, _sock: None, lambda: None),
    *(lambda _on_done: None, lambda _on_done: None, lambda: None),
)


def test_the_name_is_taken_when_it_is_due() -> None:
    """F12: until then it is the old master's; what is hidden and gone ends no master that has just begun."""
    said: list[tuple[Level, str]] = []
    reactor = Reactor()
    with open_folder("control") as folder:
        for is_removed in (False, True):
            control = Control(str(folder), is_hidden=True)
            control.start(reactor, lambda level, text: said.append((level, text)), NONE)
            (name,) = os.listdir(folder)
            assert name != SOCKET_NAME
            if is_removed:
                (folder / name).unlink()
            control.publish()
            assert os.listdir(folder) == ([] if is_removed else [SOCKET_NAME])
            control.leave()
            control.close()
            assert os.listdir(folder) == []
    assert [level for level, _ in said] == [Level.ERROR]
    reactor.close()
