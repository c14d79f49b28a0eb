from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailproxy.net.reactor import Reactor
from mailproxy.process.user_ip_table import NAME, Places, UserIpTable
from tests.harness.folder import open_folder

IP = "192.0.2.1"


@pytest.fixture
def table(tmp_path: Path) -> UserIpTable:
    return UserIpTable.open(str(tmp_path))


def fill(table: UserIpTable, user: bytes, count: int) -> list[int]:
    rows = [table.take(b"imap", user, IP, 1000) for _ in range(count)]
    assert None not in rows
    assert 0 not in rows
    return [row for row in rows if row]


def is_full(table: UserIpTable, user: bytes, limit: int) -> bool:
    row = table.take(b"imap", user, IP, limit)
    if row:
        table.give_back(row)
    return row is None


def test_the_limit_is_exact_and_for_user_address_and_protocol(table: UserIpTable) -> None:
    """X03."""
    rows = fill(table, b"joe", 10)
    assert len(set(rows)) == 10
    assert table.take(b"imap", b"joe", IP, 10) is None
    assert table.take(b"pop3", b"joe", IP, 10)
    assert table.take(b"imap", b"joe", "192.0.2.2", 10)
    assert table.take(b"imap", b"jo", IP, 10)
    table.give_back(rows[3])
    assert table.take(b"imap", b"joe", IP, 10)
    assert table.take(b"imap", b"joe", IP, 10) is None


def test_a_limit_beyond_a_bucket(table: UserIpTable) -> None:
    """Rows spill into the next bucket, are counted there, and are found there after others were freed."""
    rows = fill(table, b"joe", 500)
    assert is_full(table, b"joe", 500)
    for row in rows[:100]:
        table.give_back(row)
    assert not is_full(table, b"joe", 401)
    assert is_full(table, b"joe", 400)
    fill_again = [table.take(b"imap", b"joe", IP, 500) for _ in range(101)]
    assert fill_again[-1] is None
    assert None not in fill_again[:-1]


def test_a_full_table_lets_through_uncounted(tmp_path: Path) -> None:
    table = UserIpTable.open(str(tmp_path), buckets=2)
    fill(table, b"joe", 126)
    assert table.take(b"imap", b"mary", IP, 1) == 0
    assert table.take(b"imap", b"joe", IP, 126) is None
    table.give_back(0)
    table.forget(os.getpid())
    assert table.take(b"imap", b"mary", IP, 1)


@given(st.lists(st.tuples(st.sampled_from(["take", "give", "die"]), st.integers(0, 3)), max_size=60))
def test_it_counts_as_a_counter_does(steps: list[tuple[Literal["take", "give", "die"], int]]) -> None:
    """The model: a count a user, with a limit of four; a death gives everything back."""
    with open_folder("userip") as folder:
        table = UserIpTable.open(str(folder), buckets=2)
        model: Counter[int] = Counter()
        rows: dict[int, list[int]] = {}
        for what, number in steps:
            if what == "take":
                row = table.take(b"imap", b"user%d" % number, IP, 4)
                assert (row is None) is (model[number] == 4)
                if row is not None:
                    model[number] += 1
                    rows.setdefault(number, []).append(row)
            elif what == "give" and rows.get(number):
                table.give_back(rows[number].pop())
                model[number] -= 1
            elif what == "die":
                table.forget(os.getpid())
                model.clear()
                rows.clear()


class Children:
    """Processes that do something with the table and then stay; none outlives its test."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def begin(self, act: Callable[[], object]) -> int:
        """Fork one; returns its pid when it has acted."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                act()
                os.write(write, b"x")
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        self.pids.append(pid)
        os.close(write)
        assert os.read(read, 1) == b"x"
        os.close(read)
        return pid

    def kill(self, pid: int) -> None:
        self.pids.remove(pid)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def children() -> Iterator[Children]:
    found = Children()
    yield found
    for pid in list(found.pids):
        found.kill(pid)


def result_in_child(work: Callable[[], int]) -> int:
    """Fork; returns the pid of a child whose exit status will be the result."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            status = work()
        finally:
            os._exit(status)
    return pid


def test_the_dead_are_forgotten_and_foreign_rows_are_safe(table: UserIpTable, children: Children) -> None:
    """X03: the master does so for a worker that was killed."""
    pid = children.begin(lambda: fill(table, b"joe", 3))
    (own,) = fill(table, b"mary", 1)
    assert is_full(table, b"joe", 3)
    for row in table._rows():
        if row != own:
            table.give_back(row)
    children.kill(pid)
    assert is_full(table, b"joe", 3)
    table.forget(pid)
    assert not is_full(table, b"joe", 1)
    assert is_full(table, b"mary", 1)


def test_the_lock_is_free_when_its_holder_is_killed(table: UserIpTable, children: Children) -> None:
    """X03: nobody waits for a dead process."""
    holder = children.begin(lambda: fcntl.lockf(table.fileno(), fcntl.LOCK_EX, 1))
    waiter = result_in_child(lambda: 0 if table.take(b"imap", b"joe", IP, 1) else 1)
    assert os.waitpid(waiter, os.WNOHANG) == (0, 0)
    children.kill(holder)
    assert os.waitpid(waiter, 0)[1] == 0


def test_many_processes_never_exceed_the_limit(table: UserIpTable) -> None:
    """X03: exact while eight processes try at once, again and again."""

    def take() -> int:
        return len([1 for _ in range(300) if table.take(b"imap", b"joe", IP, 100)])

    pids = [result_in_child(take) for _ in range(8)]
    kept = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert sum(kept) == 100, kept


def test_another_master_counts_those_who_were_left(tmp_path: Path, children: Children) -> None:
    """X03: as long as they live; whoever is dead, or is no process of ours, is forgotten at once."""
    table = UserIpTable.open(str(tmp_path))
    living = children.begin(lambda: fill(table, b"joe", 2))
    children.kill(children.begin(lambda: fill(table, b"joe", 5)))
    after = UserIpTable.open(str(tmp_path))
    words = after._words
    words[fill(after, b"mary", 1)[0] + 63] = 1
    words[fill(after, b"jane", 1)[0] + 63] = 1 << 63
    reactor = Reactor()
    after.watch_strangers(reactor)
    assert not is_full(after, b"mary", 1)
    assert not is_full(after, b"jane", 1)
    assert is_full(after, b"joe", 2)
    assert not is_full(after, b"joe", 3)
    children.kill(living)
    start = time.monotonic()
    while is_full(after, b"joe", 1):
        reactor.run_once(1.0)
        assert time.monotonic() - start < 5
    reactor.close()
    after.remove()
    assert not (tmp_path / NAME).exists()


def test_a_foreign_file_is_replaced_and_no_link_is_followed(tmp_path: Path) -> None:
    """V12."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    path = tmp_path / NAME
    path.symlink_to(victim)
    UserIpTable.open(str(tmp_path))
    assert victim.read_bytes() == b"precious"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not path.is_symlink()
    with path.open("r+b") as file:
        file.write(b"other")
    before = path.stat().st_ino
    UserIpTable.open(str(tmp_path))
    assert path.stat().st_ino != before


def test_garbage_ends_and_raises_nothing(table: UserIpTable) -> None:
    """A captured worker can write what it likes."""
    table._map[4096:] = b"\xa5" * (len(table._map) - 4096)
    assert table.take(b"imap", b"joe", IP, 10) == 0
    table.give_back(77)
    table.forget(os.getpid())
    reactor = Reactor()
    table.watch_strangers(reactor)
    reactor.close()
    assert table.take(b"imap", b"joe", IP, 10)


def test_a_worker_without_a_limit_counts_nobody(table: UserIpTable) -> None:
    """Adoption is beyond any limit: that session exists."""
    free = Places(table, b"imap", 0)
    assert [free.take("joe", IP) for _ in range(3)] == [0, 0, 0]
    assert free.adopt("joe", IP) == 0
    free.give_back(0)
    limited = Places(table, b"imap", 1)
    row = limited.take("joe", IP)
    assert limited.take("joe", IP) is None
    adopted = limited.adopt("joe", IP)
    assert adopted
    limited.give_back(row)
    assert limited.take("joe", IP) is None
    limited.give_back(adopted)
    assert limited.take("joe", IP)


def test_the_disk_has_room_for_all_of_it(tmp_path: Path) -> None:
    """X11: what is not on the disk yet when it is full would kill whoever counts there (SIGBUS)."""
    UserIpTable.open(str(tmp_path))
    found = (tmp_path / NAME).stat()
    assert found.st_blocks * 512 >= found.st_size


def test_a_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """X11: that is told, and the little that there was is given back."""

    def refuse(_fd: int, _offset: int, _size_bytes: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="No space left"):
        UserIpTable.open(str(tmp_path))
    assert os.listdir(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("user", [r"j\xc3\xb6rg", "x" * 125 + "..."])
def test_who_is_handed_over_counts_as_before(table: UserIpTable, user: str) -> None:
    """X03: by the name that a relay is known by, as printable() has it."""
    places = Places(table, b"imap", 2)
    assert places.take(user, IP)
    assert places.adopt(user, IP)
    assert places.take(user, IP) is None
    assert places.adopt(user, IP)
