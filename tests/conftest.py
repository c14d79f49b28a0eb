"""What every test that runs a proxy gets: a look at its log afterwards, and the log's end in a failure."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.harness.proxy import Proxy


@pytest.fixture(autouse=True)
def _proxies_are_well() -> Iterator[None]:
    """Check every running proxy's log after each test."""
    yield
    for proxy in Proxy.open_ones:
        proxy.check_log()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of each proxy's log to a failure."""
    report = yield
    if report.failed:
        report.sections += [("mailproxy", proxy.tail()) for proxy in Proxy.open_ones]
    return report
