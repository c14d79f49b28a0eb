"""The pure parts of the benchmark."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bench import report
from bench.crowd import Script, imap_login, pop3_login
from bench.scenes import Sample, percentile
from bench.sink import imap_answer


def sample(cpu_s: float | None, units: float = 1000, scene: str = "IMAP login", target: str = "a") -> Sample:
    return Sample(scene, target, "login", units, 0, 2.0, cpu_s, 0.004, 0.02)


def test_costs_and_rates() -> None:
    one = sample(0.15)
    assert one.cost == pytest.approx(0.00015)
    assert one.per_s == 500
    assert sample(None).cost is None
    assert sample(0.1, units=0).cost is None


def test_percentiles() -> None:
    assert percentile([], 0.5) == 0
    assert percentile([1.0], 0.99) == 1
    assert percentile([float(n) for n in range(100)], 0.99) == 99
    assert percentile([float(n) for n in range(100)], 0.5) == 50


def test_the_median_is_one_of_the_samples() -> None:
    samples = [sample(0.3), sample(0.1), sample(0.2), sample(0.9, target="b")]
    assert [s.cpu_s for s in report.medians(samples)] == [0.2, 0.9]
    slow, fast = sample(None, units=10), sample(None, units=1000)
    assert report.medians([fast, slow, slow])[0] is slow


def test_proxies_stand_beside_each_other() -> None:
    samples = [
        sample(0.1, scene="x", target="a"),
        sample(0.1, scene="y", target="a"),
        sample(None, scene="x", target="b"),
    ]
    cells = report.rows(samples)
    assert [(row[0], row[1]) for row in cells] == [("x", "a"), ("x", "b"), ("y", "a")]
    assert cells[0][2:] == ("100", "µs CPU / login", "500", "4.00", "20.00", "-")
    assert cells[1][2] == "-"


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.0, "0.00")]
)
def test_figures(value: float, text: str) -> None:
    assert report.figure(value) == text


def test_tables() -> None:
    cells = [("IMAP login", "a", "1.00", "µs", "2", "-", "-", "-")]
    plain = report.as_text(cells).splitlines()
    assert len(plain) == 2
    assert plain[1].startswith("IMAP login  a")
    marked = report.as_markdown(cells).splitlines()
    assert marked[1] == "|---|---|---|---|---|---|---|---|"
    assert marked[2] == "| IMAP login | a | 1.00 | µs | 2 | - | - | - |"


@dataclass
class Dialogue:
    script: Script

    def run(self, *answers: bytes) -> list[bytes]:
        said = [next(self.script)]
        said += [self.script.send(answer) for answer in answers]
        return said


def test_clients_log_in_and_out() -> None:
    imap = Dialogue(imap_login(b"joe")).run(b"* OK\r\n", b"a OK in\r\n")
    assert imap == [b"", b"a LOGIN joe any\r\n", b"b LOGOUT\r\n"]
    pop3 = Dialogue(pop3_login(b"joe")).run(b"+OK\r\n", b"+OK\r\n", b"+OK\r\n")
    assert pop3 == [b"", b"USER joe\r\n", b"PASS any\r\n", b"QUIT\r\n"]
    with pytest.raises(ConnectionError):
        Dialogue(imap_login(b"joe")).run(b"* OK\r\n", b"a NO\r\n")


def test_the_sink_answers_by_tag() -> None:
    assert imap_answer(b"a1 LOGIN joe any") == b"a1 OK done\r\n"
    assert imap_answer(b"b LOGOUT") == b"* BYE\r\nb OK out\r\n"
