"""A shared database that is away or hangs holds up no call for long."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.auth import fallback
from service.auth.fallback import (
    DeadlineReplayStore,
    FallbackCallCounts,
    FallbackReplayStore,
    InstanceReplayStore,
)
from service.errors import Unavailable


class Common:
    """Counts of everybody; can be away, or hang."""

    def __init__(self) -> None:
        self.calls = 100
        self.asked = 0
        self.known: frozenset[str] = frozenset()
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
        self.asked += 1
        self.gate.wait(10)
        if self.away:
            raise Unavailable("away")
        self.known, known = self.known | {jti}, jti in self.known
        return not known

    def used(self, issuer: str, jti: str) -> bool:
        self.gate.wait(10)
        return jti in self.known


@pytest.fixture
def common() -> Common:
    return Common()


def test_while_the_database_answers_its_count_counts(common: Common) -> None:
    counts = FallbackCallCounts(common)
    assert [counts.add("a", 1) for _ in range(3)] == [101, 102, 103]


def test_while_it_is_away_each_worker_counts_for_itself_and_leaves_it_alone(
    common: Common,
) -> None:
    now = 0.0
    counts = FallbackCallCounts(common, lambda: now)
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
    monkeypatch.setattr(fallback, "_PATIENCE_SECONDS", 0.02)
    counts = FallbackCallCounts(common, lambda: 0.0)
    common.gate.clear()
    assert [counts.add("a", 1) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert common.asked == 1
    common.gate.set()


def test_where_a_second_use_cannot_be_told_in_time_nobody_is_let_in(
    common: Common, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a reader's session has ended, which only the shared database knows."""
    monkeypatch.setattr(fallback, "_PATIENCE_SECONDS", 0.005)
    store = DeadlineReplayStore(common)
    common.gate.clear()
    with pytest.raises(Unavailable):
        store.first_use("a", "jti", soon())
    with pytest.raises(Unavailable):
        store.used("a", "jti")
    common.gate.set()
    monkeypatch.undo()
    assert store.first_use("a", "another", soon())
    assert store.used("a", "another")


@pytest.fixture
def own(tmp_path: Path) -> InstanceReplayStore:
    return InstanceReplayStore(tmp_path / "spool" / "used-tokens.sqlite3")


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=5)


def test_while_the_database_answers_no_instance_remembers_tokens_for_itself(
    common: Common, own: InstanceReplayStore, tmp_path: Path
) -> None:
    store = FallbackReplayStore(common, own)
    assert [store.first_use("a", "jti", soon()) for _ in range(2)] == [True, False]
    assert not own.may_know()
    assert list(tmp_path.iterdir()) == []


def test_while_it_is_away_a_token_counts_once_at_all_workers_of_an_instance(
    common: Common, own: InstanceReplayStore, tmp_path: Path
) -> None:
    common.away = True
    other = InstanceReplayStore(tmp_path / "spool" / "used-tokens.sqlite3")
    workers = [FallbackReplayStore(common, each) for each in (own, other)]
    first = [worker.first_use("a", "jti", soon()) for worker in workers * 2]
    assert first == [True, False, False, False]
    assert common.asked == 2


@pytest.mark.threat("replay")
def test_a_token_that_was_used_while_it_was_away_is_refused_when_it_is_back(
    common: Common, own: InstanceReplayStore, tmp_path: Path
) -> None:
    now = 0.0
    common.away = True
    worker = FallbackReplayStore(common, own, lambda: now)
    idle = FallbackReplayStore(common, InstanceReplayStore(tmp_path / "spool/used-tokens.sqlite3"))
    assert worker.first_use("a", "jti", soon())
    common.away = False
    now += 60
    assert not idle.first_use("a", "jti", soon())
    assert not worker.first_use("a", "jti", soon())
    assert worker.first_use("a", "another", soon())


def test_a_database_that_hangs_is_waited_for_once_by_tokens_too(
    common: Common, own: InstanceReplayStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "_PATIENCE_SECONDS", 0.005)
    store = FallbackReplayStore(common, own, lambda: 0.0)
    common.gate.clear()
    assert [store.first_use("a", str(n), soon()) for n in range(4)] == [True] * 4
    assert not store.first_use("a", "0", soon())
    assert common.asked == 1
    common.gate.set()


def test_where_the_instance_cannot_remember_either_nobody_is_let_in(
    common: Common, tmp_path: Path
) -> None:
    (tmp_path / "spool").write_text("no folder")
    store = FallbackReplayStore(common, InstanceReplayStore(tmp_path / "spool/used-tokens.sqlite3"))
    common.away = True
    with pytest.raises(Unavailable):
        store.first_use("a", "jti", soon())


def test_what_was_remembered_is_not_looked_at_once_all_of_it_has_expired(
    common: Common, tmp_path: Path
) -> None:
    later = time.time() + 3600
    file = tmp_path / "used-tokens.sqlite3"
    assert InstanceReplayStore(file).first_use("a", "jti", soon())
    assert InstanceReplayStore(file).may_know()
    assert not InstanceReplayStore(file, lambda: later).may_know()
