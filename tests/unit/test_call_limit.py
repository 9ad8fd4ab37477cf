"""How often a client may call in a minute."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from service.auth.auth_tables import client_calls
from service.auth.clients import Client
from service.auth.rate_limit import (
    CallCounts,
    CallLimit,
    InstanceCallCounts,
    MemoryCallCounts,
    SqlCallCounts,
)
from service.database.engines import open_pool
from service.errors import TooManyCalls, Unavailable
from service.shared_counts import SharedCounts

HOSPITAL = Client("https://ehr.hospital.example.org", "hospital")
CLINIC = Client("https://ehr.clinic.example.org", "clinic")
MINUTE = 29_000_000 * 60.0


def in_database(folder: Path) -> SqlCallCounts:
    return SqlCallCounts(open_pool(f"sqlite:///{folder}/test.sqlite3", 8))


@pytest.fixture(params=["worker", "instance", "without room", "database"])
def counts(request: pytest.FixtureRequest, tmp_path: Path) -> CallCounts:
    if request.param == "database":
        return in_database(tmp_path)
    if request.param == "worker":
        return MemoryCallCounts()
    room = 4096 if request.param == "instance" else 16
    return InstanceCallCounts(SharedCounts(2, region_bytes=room))


def test_the_call_after_the_last_allowed_one_waits_for_the_next_minute(counts: CallCounts) -> None:
    limit = CallLimit(3, counts, lambda: MINUTE + 12.5)
    for _ in range(3):
        limit.count(HOSPITAL)
    with pytest.raises(TooManyCalls) as refused:
        limit.count(HOSPITAL)
    assert refused.value.headers == {"Retry-After": "48"}


def test_each_client_has_its_own_count(counts: CallCounts) -> None:
    limit = CallLimit(1, counts, lambda: MINUTE)
    limit.count(HOSPITAL)
    limit.count(CLINIC)
    with pytest.raises(TooManyCalls):
        limit.count(CLINIC)


def test_a_new_minute_begins_anew(counts: CallCounts) -> None:
    now = MINUTE + 59.9
    limit = CallLimit(1, counts, lambda: now)
    limit.count(HOSPITAL)
    with pytest.raises(TooManyCalls) as refused:
        limit.count(HOSPITAL)
    assert refused.value.headers == {"Retry-After": "1"}
    now += 0.1
    limit.count(HOSPITAL)


def test_calls_at_once_are_all_counted(counts: CallCounts) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: counts.add("a", 7), range(50)))
    assert sorted(numbers) == list(range(1, 51))


def test_two_instances_with_one_database_count_together(tmp_path: Path) -> None:
    limits = [CallLimit(2, in_database(tmp_path), lambda: MINUTE) for _ in range(2)]
    limits[0].count(HOSPITAL)
    limits[1].count(HOSPITAL)
    with pytest.raises(TooManyCalls):
        limits[0].count(HOSPITAL)


def test_counts_of_minutes_long_past_are_not_kept(tmp_path: Path) -> None:
    engine = open_pool(f"sqlite:///{tmp_path}/test.sqlite3", 8)
    counts = SqlCallCounts(engine)
    for minute in (1, 2, 3, 10):
        counts.add("a", minute)
    with engine.begin() as connection:
        assert list(connection.scalars(select(client_calls.c.minute))) == [10]


def test_where_calls_cannot_be_counted_nobody_is_let_in(tmp_path: Path) -> None:
    pool = open_pool(f"sqlite:///{tmp_path}/file.sqlite3", 8)
    limited = CallLimit(1, SqlCallCounts(pool))
    pool.dispose()
    (tmp_path / "file.sqlite3").unlink()
    (tmp_path / "file.sqlite3").mkdir()
    with pytest.raises(Unavailable):
        limited.count(HOSPITAL)
