"""Pruning beside a running service: small steps, a floor, and a clock that is believed only with
witnesses.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.database.engines import database_file
from service.decision_log import retention
from service.decision_log.clock_check import ClockState, ClockWatch, clock_doubt
from service.decision_log.instants import instant_of, new_call_id
from service.decision_log.retention import LARGEST_WAL, prune
from service.errors import ConfigurationError, RecordsUnavailable
from service.settings import load_settings
from service.web.operations import State, clock_check
from tests.conftest import without_further_threads
from tests.unit.decision_log.builders import AT, call

Log = Callable[..., None]
DAY = timedelta(days=1)
CALLS, BYTES = 6000, 12_000


@pytest.fixture
def file(url: str) -> Path:
    """A log of some 75 MB, a call a minute."""
    file = database_file(url)
    row = ("clinic", "order-sign-crd", "order-sign", 200, 1, "0.1.0")
    with sqlite3.connect(file) as log:
        for n in range(CALLS):
            at = AT + timedelta(minutes=n)
            log.execute(
                "INSERT INTO call (call_id, received_at, client, service_id, hook, status,"
                " elapsed_us, service_version, kept) VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?)",
                [new_call_id(at), *row, os.urandom(BYTES)],
            )
        log.execute(
            "INSERT INTO card SELECT 'card-' || call_id, call_id, 0, 'guideline', null, null, 0,"
            " '[]' FROM call"
        )
        log.execute(
            "INSERT INTO feedback SELECT 'said-' || call_id, 0, 'clinic', 's', 'card-' || call_id,"
            " 'accepted', 0, '[]', null, null, null, null FROM call"
        )
    log.close()
    return file


def wal(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


@contextmanager
def beside(file: Path, work: Callable[[sqlite3.Connection], object]) -> Iterator[None]:
    """Something is done on the log again and again, as a running service does."""
    over = threading.Event()

    def run() -> None:
        connection = sqlite3.connect(file, timeout=10, isolation_level=None)
        while not over.is_set():
            work(connection)
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def look(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT count(*), max(call_id) FROM call").fetchone()
    time.sleep(0.002)


def write(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO access_log VALUES (?, 0, 'a', 'b', '{}')", [new_call_id(AT + 3650 * DAY)]
    )
    time.sleep(0.005)


def test_beside_readers_and_writers_the_wal_file_stays_small(file: Path, engine: Engine) -> None:
    largest = 0

    def measure(_: int) -> None:
        nonlocal largest
        largest = max(largest, wal(file).stat().st_size)

    size = file.stat().st_size
    with beside(file, look), beside(file, write):
        removed = prune(engine, AT + timedelta(minutes=CALLS - 10), measure)
    assert removed == CALLS - 10
    assert size > 3 * LARGEST_WAL
    assert 0 < largest <= LARGEST_WAL
    with sqlite3.connect(file) as log:
        for table in ("call", "card", "feedback"):
            assert log.execute(f"SELECT count(*) FROM {table}").fetchone() == (10,)
    log.close()


def test_where_a_reader_never_ends_pruning_does_and_says_why(
    file: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_WAIT_SECONDS", 0.2)
    reader = sqlite3.connect(file, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM call").fetchone()
    with pytest.raises(RecordsUnavailable, match="another program reads the log"):
        prune(engine, AT + timedelta(minutes=CALLS))
    assert wal(file).stat().st_size <= 2 * LARGEST_WAL
    reader.execute("ROLLBACK")
    reader.close()
    assert 0 < prune(engine, AT + timedelta(minutes=CALLS)) < CALLS


# The clock ---------------------------------------------------------------------------------------


def doubt(engine: Engine, before: datetime, now: datetime) -> str | None:
    with engine.connect() as connection:
        return clock_doubt(connection, before, now)


def test_a_clock_that_the_records_bear_out_is_believed(log: Log, engine: Engine) -> None:
    log(*(call(at=AT + n * 20 * DAY) for n in range(40)))
    assert doubt(engine, AT + 400 * DAY, AT + 790 * DAY) is None
    assert doubt(engine, AT - DAY, AT + 4000 * DAY) is None  # nothing is that old


def test_a_clock_ahead_of_all_records_is_doubted(log: Log, engine: Engine) -> None:
    log(*(call(at=AT + n * DAY) for n in range(5)))
    told = doubt(engine, AT + 20 * DAY, AT + 3670 * DAY)
    assert told == "no call is on record for 30 days after 2026-11-26 15:30 (UTC)"


def test_a_clock_that_jumped_is_doubted_also_after_calls_were_recorded_by_it(
    log: Log, engine: Engine
) -> None:
    log(call(), *(call(at=AT + 3700 * DAY + n * DAY) for n in range(5)))
    told = doubt(engine, AT + 50 * DAY, AT + 3704 * DAY)
    assert told == "no call is on record for 30 days after 2026-11-22 15:30 (UTC)"


def test_a_clock_behind_the_newest_record_is_doubted(log: Log, engine: Engine) -> None:
    log(call(at=AT))
    told = doubt(engine, AT + 50 * DAY, AT - DAY)
    assert told is not None
    assert "the newest record is of 2026-11-22 15:30" in told
    assert "says 2026-11-21 15:30" in told


def test_a_call_id_tells_its_instant_to_the_millisecond() -> None:
    at = AT + timedelta(microseconds=123_456)
    assert instant_of(new_call_id(at)) == AT + timedelta(milliseconds=123)


def watch(newest: datetime | None = None) -> tuple[ClockWatch, dict[str, float]]:
    """A watch over clocks that a test sets."""
    times = {"wall": 1_000_000.0, "steady": 50.0}
    made = ClockWatch(
        lambda: newest,
        lambda: datetime.fromtimestamp(times["wall"], UTC),
        lambda: times["wall"],
        lambda: times["steady"],
    )
    return made, times


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, 3650 * 86400.0])
def test_a_jump_of_the_clock_is_told_and_logged_once(
    jump: float, capsys: pytest.CaptureFixture[str]
) -> None:
    made, times = watch()
    times["wall"] += 600
    times["steady"] += 600
    assert made.state().trouble is None
    times["wall"] += jump
    for _ in range(3):
        assert made.state().trouble == f"this machine's clock has jumped by {jump:.0f} seconds"
    assert capsys.readouterr().out.count("the clock is in doubt") == 1


def test_a_newest_record_of_the_future_is_told() -> None:
    made, _ = watch(datetime.fromtimestamp(1_000_000 + 7200, UTC))
    made.look()
    assert made.state().trouble == "the newest record is 7200 seconds ahead of this machine's clock"
    on_time, _ = watch(datetime.fromtimestamp(999_000, UTC))
    on_time.look()
    assert on_time.state().trouble is None


def test_readiness_is_told_while_the_system_has_no_more_threads() -> None:
    made, _ = watch()
    with without_further_threads():
        assert made.state().trouble is None


def test_a_log_that_cannot_be_read_leaves_the_clock_undoubted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken() -> datetime:
        raise OSError("away")

    made = ClockWatch(broken, lambda: AT)
    made.look()
    assert made.state().trouble is None
    assert "the newest record cannot be read" in capsys.readouterr().out


def test_readiness_tells_of_a_clock_in_doubt() -> None:
    good = clock_check(lambda: ClockState(jumped=3.0, behind=-50.0)).look()
    assert (good.state, good.warnings) == (State.READY, ())
    found = clock_check(lambda: ClockState(behind=7200.0)).look()
    assert found.state is State.DEGRADED
    assert found.facts == {"jumped_seconds": 0, "newest_record_ahead_seconds": 7200}
    assert found.warnings[0].endswith("ahead of this machine's clock; do not prune")


def test_a_retention_below_the_floor_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="below COVERCARD_RETENTION_FLOOR_DAYS, 365"):
        load_settings(retention_days=364)
    with pytest.raises(ConfigurationError, match="COVERCARD_RETENTION_FLOOR_DAYS"):
        load_settings(retention_floor_days=29)
    assert load_settings(retention_days=40, retention_floor_days=40).retention_days == 40
