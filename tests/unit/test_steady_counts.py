"""A shared database that is away or hangs holds up no call for long."""

import threading
from datetime import UTC, datetime

import pytest

from service.errors import Unavailable
from service.trust import steady
from service.trust.steady import SteadyCallCounts, TimelyReplayStore


class Common:
    """Counts of everybody; can be away, or hang."""

    def __init__(self) -> None:
        self.calls = 100
        self.asked = 0
        self.away = False
        self.gate = threading.Event()
        self.gate.set()

    def add(self, issuer: str, minute: int) -> int:
        self.asked += 1
        self.gate.wait(10)
        if self.away:
            raise Unavailable("away")
        self.calls += 1
        return self.calls

    def first_use(self, issuer: str, jti: str, expires: datetime) -> bool:
        self.gate.wait(10)
        return True


@pytest.fixture
def common() -> Common:
    return Common()


def test_while_the_database_answers_its_count_counts(common: Common) -> None:
    counts = SteadyCallCounts(common)
    assert [counts.add("a", 1) for _ in range(3)] == [101, 102, 103]


def test_while_it_is_away_each_worker_counts_for_itself_and_leaves_it_alone(
    common: Common,
) -> None:
    now = 0.0
    counts = SteadyCallCounts(common, lambda: now)
    counts.add("a", 1)
    common.away = True
    assert [counts.add("a", 1) for _ in range(5)] == [2, 3, 4, 5, 6]
    assert common.asked == 2
    common.away = False
    assert counts.add("a", 1) == 7
    now += 60
    assert counts.add("a", 1) == 102
    assert counts.add("a", 1) == 103


def test_a_database_that_hangs_is_waited_for_once(
    common: Common, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steady, "_PATIENCE_SECONDS", 0.02)
    counts = SteadyCallCounts(common, lambda: 0.0)
    common.gate.clear()
    assert [counts.add("a", 1) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert common.asked == 1
    common.gate.set()


def test_where_a_second_use_cannot_be_told_in_time_nobody_is_let_in(
    common: Common, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steady, "_PATIENCE_SECONDS", 0.005)
    store = TimelyReplayStore(common)
    expires = datetime(2026, 12, 1, tzinfo=UTC)
    common.gate.clear()
    with pytest.raises(Unavailable):
        store.first_use("a", "jti", expires)
    common.gate.set()
    monkeypatch.undo()
    assert store.first_use("a", "jti", expires)
