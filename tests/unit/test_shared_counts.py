"""Counts that processes share in memory: each adds its own, whatever becomes of the others."""

from __future__ import annotations

import copy
import os
import signal
import threading
from multiprocessing import get_context
from pathlib import Path

import pytest
import structlog

from service.cli.serve import remove_left_metrics
from service.shared_counts import SharedCounts, _Seen

SECONDS = 30
GONE = "999999999"
"""No process has this number: it is above the largest that Linux gives."""


def in_a_process(counts: SharedCounts, region: int, times: int) -> None:
    """Count so many times in a process of its own, which is then killed."""

    def count() -> None:
        counts.take(region)
        for _ in range(times):
            counts.add(("calls", "order-sign"), 1)
            counts.set(("open",), 5)
        os.kill(os.getpid(), signal.SIGKILL)

    process = get_context("fork").Process(target=count)
    process.start()
    process.join(SECONDS)
    assert process.exitcode == -signal.SIGKILL


def test_what_killed_processes_counted_stays_and_what_they_had_open_does_not() -> None:
    counts = SharedCounts(3, ["open"])
    in_a_process(counts, 1, 10)
    in_a_process(counts, 2, 7)
    assert counts.totals() == {("calls", "order-sign"): [17.0], ("open",): [10.0]}
    counts.leave(1)
    in_a_process(counts, 1, 1)
    counts.leave(1)
    counts.leave(2)
    assert counts.totals() == {("calls", "order-sign"): [18.0], ("open",): [0.0]}


def test_threads_lose_no_count() -> None:
    counts = SharedCounts()
    threads = [
        threading.Thread(
            target=lambda: [counts.observe(("seconds",), 1, 3, 0.5) for _ in range(2000)]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert counts.totals() == {("seconds",): [0.0, 8000.0, 0.0, 4000.0]}


def test_a_region_without_room_counts_what_it_knows_and_says_so_once() -> None:
    counts = SharedCounts(1, region_bytes=4096)
    with structlog.testing.capture_logs() as lines:
        for number in range(500):
            counts.add(("cards", f"policy-{number}"), 1)
            counts.add(("cards", "policy-0"), 1)
    totals = counts.totals()
    assert 20 < len(totals) < 500
    assert totals[("cards", "policy-0")] == [501.0]
    assert [line["event"] for line in lines] == ["no room for a further count: it is not counted"]


def test_an_entry_that_was_not_finished_does_not_count() -> None:
    counts = SharedCounts(1)
    counts.add(("calls",), 1)
    used = counts._words[0]
    counts.add(("half",), 1)
    counts._words[0] = used
    assert counts.totals() == {("calls",): [1.0]}
    counts.take(0)
    counts.add(("whole",), 2)
    assert counts.totals() == {("calls",): [1.0], ("whole",): [2.0]}


def worker(counts: SharedCounts, region: int) -> SharedCounts:
    """The same memory, as the process that has this region sees it."""
    seen = copy.copy(counts)
    seen._places, seen._seen = {}, [_Seen() for _ in counts._seen]
    seen._lock = threading.Lock()
    seen.take(region)
    return seen


def test_a_count_of_a_period_is_that_of_all_processes() -> None:
    counts = SharedCounts(3)
    one, two, three = (worker(counts, region) for region in range(3))
    assert [each.count_in(("a",), 7) for each in (one, two, one, three)] == [1, 2, 3, 4]
    # What comes to a region later is found too, and keys do not mix.
    assert [each.count_in(("b",), 7) for each in (three, one, two)] == [1, 2, 3]
    assert [each.count_in(("a",), 7) for each in (one, two, three)] == [5, 6, 7]


def test_a_new_period_begins_anew_whoever_is_first_in_it() -> None:
    counts = SharedCounts(2)
    one, two = (worker(counts, region) for region in range(2))
    assert [each.count_in(("a",), 7) for each in (one, two, two)] == [1, 2, 3]
    assert [each.count_in(("a",), 8) for each in (two, two, one)] == [1, 2, 3]


def test_what_a_process_that_died_has_counted_in_a_period_still_counts() -> None:
    counts = SharedCounts(2)
    one, two = (worker(counts, region) for region in range(2))
    assert [each.count_in(("a",), 7) for each in (one, two)] == [1, 2]
    counts.leave(0)
    assert [each.count_in(("a",), 7) for each in (worker(counts, 0), two)] == [3, 4]


def test_where_there_is_no_room_for_a_key_its_count_is_not_known() -> None:
    counts = SharedCounts(1, region_bytes=4096)
    known = [counts.count_in((f"client-{n}",), 7) for n in range(200)]
    assert known[:20] == [1] * 20
    assert known[-1] is None


@pytest.mark.parametrize(
    ("file", "stays"),
    [("counter_{gone}.db", False), ("counter_{alive}.db", True), ("notes.txt", True)],
)
def test_only_folders_of_dead_processes_are_removed_at_the_start(
    file: str, stays: bool, tmp_path: Path
) -> None:
    left = tmp_path / "covercard-metrics-abc"
    left.mkdir()
    (left / file.format(gone=GONE, alive=os.getpid())).touch()
    other = tmp_path / "someone-elses"
    other.mkdir()
    (other / f"counter_{GONE}.db").touch()
    (tmp_path / "covercard-metrics-link").symlink_to(other)
    remove_left_metrics(tmp_path)
    assert left.exists() == stays
    assert (other / f"counter_{GONE}.db").exists()


def test_a_folder_that_cannot_be_looked_at_does_not_stop_the_start(tmp_path: Path) -> None:
    remove_left_metrics(tmp_path / "gone")
