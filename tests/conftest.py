"""What every test that runs a proxy gets: a look at its log afterwards, and the log's end in a failure."""

from __future__ import annotations

import gc
import traceback
import warnings
from collections.abc import Generator, Iterator

import pytest

from tests.harness.proxy import Proxy

# Files that take longest, from half a minute down to a quarter; at the end one of them would keep one alone.
LONGEST = (
    "test_killed.py",
    "test_outage.py",
    "test_real_systemd.py",
    "test_tls_relay.py",
    "test_client_tls_faults.py",
    "test_reload.py",
    "test_end.py",
    "test_limits.py",
    "test_upgrade.py",
    "test_fd_store.py",
    "test_user_ip.py",
    "test_sql_faults.py",
    "test_document.py",
    "test_hung.py",
    "test_exhaustion.py",
    "test_auth_count.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; several at a time, tests take them in this order."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


@pytest.fixture(autouse=True)
def _proxies_are_well() -> Iterator[None]:
    """Check every running proxy's log after each test."""
    yield
    for proxy in Proxy.open_ones:
        proxy.check_log()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of each proxy's log to a failure, and let go of the sockets that it left open.

    Otherwise they would be found, and fail, the second try.
    """
    report = yield
    if report.failed and call.excinfo is not None:
        report.sections += [("mailproxy", proxy.tail()) for proxy in Proxy.open_ones]
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            traceback.clear_frames(call.excinfo.tb)
            for frame, _ in traceback.walk_tb(call.excinfo.tb):
                _ = frame.f_locals  # a copy that pytest has looked at; now it is made anew
            gc.collect()
    return report
