"""A shared database that is away or hangs holds up no call for long."""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.auth import fallback
from service.auth.fallback import (
    DeadlineReplayStore,
    FallbackCallCounts,
    InstanceFirstReplayStore,
)
from service.auth.instance_tokens import InstanceTokens
from service.auth.rate_limit import MemoryCallCounts
from service.auth.replay_detection import Use
from service.errors import Unavailable
from tests.token_uses import first_use


class Common:
    """Counts of everybody; can be away, or hang."""

    def __init__(self) -> None:
        self.calls = 100
        self.asked = 0
        self.known: dict[str, str | None] = {}
        self.away = False
        self.gate = threading.Event()
        self.gate.set()

    def add(self, issuer: str, minute: int) -> int:
        self.asked += 1
        self.gate.wait(60)
        if self.away:
            raise Unavailable("away")
        self.calls += 1
        return self.calls

    def use(self, issuer: str, jti: str, expires: datetime, request: str | None = None) -> Use:
        self.asked += 1
        self.gate.wait(60)
        if self.away:
            raise Unavailable("away")
        if jti not in self.known:
            self.known[jti] = request
            return Use.FIRST
        return Use.REPEATED if request is not None and self.known[jti] == request else Use.REPLAYED

    def used(self, issuer: str, jti: str) -> bool:
        self.gate.wait(60)
        return jti in self.known


@pytest.fixture
def common() -> Common:
    return Common()


def test_while_the_database_answers_its_count_counts(common: Common) -> None:
    counts = FallbackCallCounts(common, MemoryCallCounts())
    assert [counts.add("a", 1) for _ in range(3)] == [101, 102, 103]


def test_while_it_is_away_each_instance_counts_for_itself_and_leaves_it_alone(
    common: Common,
) -> None:
    now = 0.0
    counts = FallbackCallCounts(common, MemoryCallCounts(), lambda: now)
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
    counts = FallbackCallCounts(common, MemoryCallCounts(), lambda: 0.0)
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
        first_use(store, "a", "jti", soon())
    with pytest.raises(Unavailable):
        store.used("a", "jti")
    common.gate.set()
    monkeypatch.undo()
    assert first_use(store, "a", "another", soon())
    assert store.used("a", "another")


FILE = Path("spool") / "used-tokens.sqlite3"


@pytest.fixture
def own(tmp_path: Path) -> InstanceTokens:
    return InstanceTokens(tmp_path / FILE)


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=5)


def hang(common: Common) -> None:
    common.gate.clear()


def refuse(common: Common) -> None:
    common.away = True


def go_back_to_a_backup(common: Common) -> None:
    common.known = {}


FAULTS = {"hangs": hang, "refuses": refuse, "is restored": go_back_to_a_backup}
each_fault = pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda f: f.__name__)


@pytest.mark.threat("replay")
@each_fault
def test_a_token_used_at_an_instance_is_never_accepted_there_again_whatever_the_database_does(
    common: Common,
    own: InstanceTokens,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Common], None],
) -> None:
    monkeypatch.setattr(fallback, "_PATIENCE_SECONDS", 0.005)
    now = 0.0
    workers = [
        InstanceFirstReplayStore(store, common, monotonic=lambda: now)
        for store in (own, InstanceTokens(tmp_path / FILE))
    ]
    used = ["before", "during", "after"]
    assert first_use(workers[0], "a", "before", soon())
    fault(common)
    assert first_use(workers[0], "a", "during", soon())
    assert not any(first_use(worker, "a", jti, soon()) for jti in used[:2] for worker in workers)
    common.away = False
    common.gate.set()
    now += 60
    assert first_use(workers[0], "a", "after", soon())
    assert not any(first_use(worker, "a", jti, soon()) for jti in used for worker in workers)
    # The program starts anew, with the same folder.
    again = InstanceFirstReplayStore(InstanceTokens(tmp_path / FILE), common)
    assert not any(first_use(again, "a", jti, soon()) for jti in used)


@pytest.mark.threat("replay")
def test_a_token_that_another_instance_has_seen_is_refused_while_the_database_answers(
    common: Common, own: InstanceTokens, tmp_path: Path
) -> None:
    here = InstanceFirstReplayStore(own, common)
    there = InstanceFirstReplayStore(InstanceTokens(tmp_path / "other.sqlite3"), common)
    assert [first_use(store, "a", "jti", soon()) for store in (here, there)] == [True, False]


def test_a_token_known_here_is_refused_without_the_database(
    common: Common, own: InstanceTokens
) -> None:
    store = InstanceFirstReplayStore(own, common)
    assert [first_use(store, "a", "jti", soon()) for _ in range(5)] == [True] + [False] * 4
    assert common.asked == 1


def test_a_database_that_hangs_is_waited_for_once_by_tokens_too(
    common: Common, own: InstanceTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "_PATIENCE_SECONDS", 0.005)
    store = InstanceFirstReplayStore(own, common, monotonic=lambda: 0.0)
    common.gate.clear()
    assert [first_use(store, "a", str(n), soon()) for n in range(4)] == [True] * 4
    assert not first_use(store, "a", "0", soon())
    assert common.asked == 1
    common.gate.set()


def broken(tmp_path: Path) -> InstanceTokens:
    """A record whose folder is none, until `repair`."""
    (tmp_path / "spool").write_text("no folder")
    return InstanceTokens(tmp_path / FILE)


def repair(tmp_path: Path) -> None:
    (tmp_path / "spool").unlink()


def test_where_neither_record_can_tell_nobody_is_let_in(common: Common, tmp_path: Path) -> None:
    store = InstanceFirstReplayStore(broken(tmp_path), common)
    common.away = True
    with pytest.raises(Unavailable):
        first_use(store, "a", "jti", soon())


@pytest.mark.threat("replay")
def test_after_a_gap_in_the_instances_record_the_database_must_answer_for_a_tokens_lifetime(
    common: Common, tmp_path: Path
) -> None:
    """A token accepted in the gap is known to the database alone."""
    now = 0.0
    store = InstanceFirstReplayStore(broken(tmp_path), common, lifetime=300, monotonic=lambda: now)
    assert first_use(store, "a", "in the gap", soon())
    repair(tmp_path)
    common.away = True
    with pytest.raises(Unavailable):
        first_use(store, "a", "in the gap", soon())
    now += 300 + 3 * 30
    assert first_use(store, "a", "later", soon())


def test_tokens_of_an_instance_are_forgotten_when_they_have_expired(tmp_path: Path) -> None:
    now = 1_000.0
    store = InstanceTokens(tmp_path / FILE, lambda: now)

    def until(seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC)

    for n in range(20):
        assert first_use(store, "a", f"short-{n}", until(1_030))
    assert first_use(store, "a", "long", until(1_300))
    now = 1_061.0
    assert first_use(store, "a", "another", until(1_300))
    with sqlite3.connect(tmp_path / FILE) as reading:
        assert reading.execute("SELECT count(*) FROM used_tokens").fetchone() == (2,)
    assert not first_use(store, "a", "long", until(1_300))


def test_of_many_uses_at_once_at_an_instance_one_is_the_first(tmp_path: Path) -> None:
    stores = [InstanceTokens(tmp_path / FILE) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda n: first_use(stores[n % 4], "a", "1", soon()), range(40)))
    assert first.count(True) == 1


@pytest.mark.threat("files-at-rest")
def test_an_instances_file_tells_nothing_of_a_token_and_is_its_owners_alone(
    own: InstanceTokens, tmp_path: Path
) -> None:
    assert first_use(own, "a", "Marigold-Quistgaard", soon())
    files = list((tmp_path / "spool").iterdir())
    assert files
    for file in files:
        assert b"Quistgaard" not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0
