"""What to provision: the arithmetic, the table in docs/performance.md, and the day at speed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest

from tests.bench.capacity import (
    DAY,
    DEMAND,
    FIGURES,
    MEMBERS,
    BenchFigures,
    DemandOfMembers,
    hours,
    number,
    provision,
    size,
    table,
)
from tests.bench.day import SimulatedDay, planned_rate, simulate
from tests.documents import document


def test_the_provision_is_what_one_reckons_by_hand() -> None:
    figures = BenchFigures(cores=2, calls_a_second=100, log_bytes=1000, member_bytes=10)
    demand = DemandOfMembers(
        orders=10, calls=2, working_days=200, share=0.1, burst=3, load=0.5, years=2
    )
    found = provision(3_600_000, figures, demand)
    assert found.calls_a_day == 360_000  # 3.6 million × 20 a year, on 200 days
    assert found.busiest_hour == 36_000
    assert found.peak == 30  # ten a second on average, three times that
    assert found.instances == 2  # one of 50 planned calls a second, and one to spare
    assert found.log_a_month == 6e9
    assert found.log_kept == 144e9
    assert found.partitions == 36
    assert found.payer_data == 36e6
    assert provision(36_000_000, figures, demand).instances == 7


def test_more_members_need_no_less_and_slower_machines_more() -> None:
    found = [provision(members) for members in MEMBERS]
    for less, more in pairwise(found):
        assert less.instances <= more.instances
        assert less.log_a_month < more.log_a_month
    slower = replace(FIGURES, calls_a_second=FIGURES.calls_a_second / 10)
    assert provision(50_000_000, slower).instances > provision(50_000_000).instances
    assert provision(1).instances == 2  # never without one to spare


def test_a_day_has_all_its_calls_and_its_busiest_hour_is_not_above_the_planned_one() -> None:
    assert len(DAY) == 24
    assert sum(hours(1000)) == pytest.approx(1000)
    assert max(DAY) / sum(DAY) <= DEMAND.share


@pytest.mark.parametrize(
    ("value", "words"),
    [(50, "50 B"), (9_282, "9.3 KB"), (13e9, "13 GB"), (123e9, "120 GB"), (6.9e12, "6.9 TB")],
)
def test_sizes_have_two_digits_that_count(value: float, words: str) -> None:
    assert size(value) == words


def test_numbers_have_two_digits_that_count() -> None:
    assert [number(v) for v in (0, 2.38, 119.04, 42_857)] == ["0", "2.4", "120", "43,000"]


def test_the_documents_table_is_the_one_that_is_worked_out() -> None:
    text = document("docs/performance.md").text
    shown = text.partition("<!-- capacity: begin -->\n")[2].partition("\n<!-- capacity: end")[0]
    assert shown.splitlines() == list(table([provision(members) for members in MEMBERS]))


@pytest.fixture
def answers() -> Iterator[tuple[str, list[int]]]:
    """A server whose answers are the statuses of a list, then 200; and the list."""
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(statuses.pop() if statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", statuses
    server.shutdown()
    server.server_close()


def test_a_day_at_speed_fires_each_hour_at_its_rate_and_counts_what_is_answered(
    answers: tuple[str, list[int]],
) -> None:
    url, statuses = answers
    statuses.extend([503, 500])
    found = simulate(url, [b"{}"], rate=40, seconds_an_hour=0.1, connections=4)
    assert found.fired == sum(round(40 * weight / max(DAY) * 0.1) for weight in DAY)
    assert found.answered == found.fired - 2
    lines = list(found.lines(40))
    assert f"DAY answered {found.answered} of {found.fired}" in lines[1]
    assert lines[2].endswith("NOT REACHED")


def test_a_day_with_an_answer_for_each_call_in_time_is_reached() -> None:
    lines = [*SimulatedDay(10, 10, 0, 12.5).lines(planned_rate())]
    assert [line for line in lines if line.startswith("TARGET")] == [
        "TARGET every call of the day is answered: reached",
        "TARGET p99 at most 1000 ms: reached",
    ]
    assert "NOT REACHED" in [*SimulatedDay(10, 10, 0, 1001).lines(1)][-1]
