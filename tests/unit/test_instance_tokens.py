"""The file of an instance's used tokens: its log is moved beside the calls, and it stays small."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.auth import instance_tokens
from service.auth.instance_tokens import InstanceTokens
from service.auth.replay_detection import Use
from service.errors import Unavailable
from tests.token_uses import first_use

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)
NOT_MOVED = "used tokens' log not moved"


class Clock:
    """Seconds since 1970, set by hand."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "used tokens?#.sqlite3"


@pytest.fixture
def store(file: Path, clock: Clock) -> InstanceTokens:
    return InstanceTokens(file, clock)


@pytest.fixture(autouse=True)
def others_may_read_new_files() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def each_fourth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_tokens, "_CHECKPOINT_EVERY", 4)


def use(store: InstanceTokens, *numbers: int) -> None:
    for n in numbers:
        assert first_use(store, "a", str(n), SOON)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def in_the_file_itself(file: Path, aside: Path) -> int:
    """The number of tokens in a copy of the file without its log."""
    copy = aside / "copy"
    copy.write_bytes(file.read_bytes())
    with closing(sqlite3.connect(copy)) as reading:
        try:
            found: int = reading.execute("SELECT count(*) FROM used_tokens").fetchone()[0]
        except sqlite3.OperationalError:  # not even the table
            return 0
    return found


def rows(file: Path, table: str = "used_tokens") -> int:
    with closing(sqlite3.connect(file)) as reading:
        found: int = reading.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return found


@pytest.mark.usefixtures("each_fourth")
def test_a_thread_moves_the_log_into_the_file_while_calls_go_on(
    store: InstanceTokens, file: Path, tmp_path: Path
) -> None:
    use(store, 1, 2, 3)
    assert in_the_file_itself(file, tmp_path) == 0
    use(store, 4)
    until(lambda: in_the_file_itself(file, tmp_path) == 4)


def pages_of_log(file: Path) -> int:
    with closing(sqlite3.connect(file)) as looking:
        return int(looking.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1])


def test_a_large_log_is_begun_anew_when_those_who_read_it_have_ended(
    store: InstanceTokens, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be where somebody always reads or writes, and would grow for good."""
    monkeypatch.setattr(instance_tokens, "_LARGE_LOG", 10)
    use(store, *range(20))
    reading = sqlite3.connect(file, check_same_thread=False)
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM used_tokens").fetchone()
    use(store, *range(20, 40))
    ends = threading.Timer(0.2, reading.close)
    ends.start()
    store._checkpoint()
    ends.join()
    use(store, 41)
    assert pages_of_log(file) < 10


@pytest.mark.usefixtures("each_fourth")
def test_threads_end(store: InstanceTokens) -> None:
    store._threads._kept = 0.01
    before = {*threading.enumerate()}
    use(store, *range(40))
    until(lambda: before.issuperset(threading.enumerate()))


def test_connections_end(store: InstanceTokens) -> None:
    """One of their descriptors SQLite keeps for the next, as long as calls have the file open."""

    def descriptors() -> int:
        return len([*Path("/proc/self/fd").iterdir()])

    use(store, 1)
    store._checkpoint()
    before = descriptors()
    for _ in range(50):
        store._checkpoint()
    assert descriptors() == before


def test_without_more_threads_calls_go_on_and_the_log_tells(
    store: InstanceTokens, each_fourth: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    with capture_logs() as logs:
        use(store, *range(8))
    assert [(line["event"], line["kind"]) for line in logs] == [(NOT_MOVED, "no more threads")] * 2


@pytest.mark.threat("files-at-rest")
def test_what_belongs_to_the_file_is_the_owners_alone(
    store: InstanceTokens, file: Path, each_fourth: None
) -> None:
    use(store, *range(8))
    found = {path.name: path.stat().st_mode & 0o777 for path in file.parent.iterdir()}
    assert found == {f"{file.name}{end}": 0o600 for end in ("", "-wal", "-shm")}


def at_once(store: InstanceTokens) -> None:
    """Move the log in this thread."""
    with capture_logs() as logs:
        store._checkpoint()
    assert [line["event"] for line in logs] == [NOT_MOVED]


@pytest.mark.threat("files-at-rest")
def test_a_file_that_was_removed_is_not_made_anew_beside_the_calls(
    store: InstanceTokens, file: Path
) -> None:
    """SQLite would make one that all may read, and remove the log of the one in use."""
    use(store, 1)
    file.unlink()
    at_once(store)
    assert not file.exists()
    assert file.with_name(f"{file.name}-wal").stat().st_size
    assert store.use("a", "1", SOON) is Use.REPLAYED


@pytest.mark.threat("files-at-rest")
def test_nor_is_one_that_is_removed_at_that_moment(
    store: InstanceTokens, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(store, 1)
    file.unlink()
    monkeypatch.setattr(instance_tokens, "_identity", lambda _: store._opened_as)
    at_once(store)
    assert not file.exists()


def test_the_log_of_one_file_is_never_moved_into_another_of_its_name(
    store: InstanceTokens, file: Path, tmp_path: Path
) -> None:
    """As where an administrator puts one back from a backup beside a running service."""
    use(store, 1, 2)
    other = tmp_path / "other"
    with closing(sqlite3.connect(other)) as writing:
        writing.execute("CREATE TABLE other (n)")
        writing.commit()
    content = other.read_bytes()
    other.replace(file)
    at_once(store)
    assert file.read_bytes() == content


@pytest.mark.parametrize("failing", [sqlite3.OperationalError("disk I/O error"), OSError(5, "EIO")])
def test_a_log_that_cannot_be_moved_fails_no_call(
    store: InstanceTokens, monkeypatch: pytest.MonkeyPatch, failing: Exception
) -> None:
    use(store, 1)

    def connect(*_: object, **_named: object) -> None:
        raise failing

    with monkeypatch.context() as broken:
        broken.setattr(sqlite3, "connect", connect)
        at_once(store)
    use(store, 2)


def test_after_an_error_the_file_is_opened_anew_and_its_log_is_moved(
    store: InstanceTokens, file: Path, tmp_path: Path
) -> None:
    use(store, 1)
    assert store._connection is not None
    store._connection.close()
    with pytest.raises(Unavailable):
        store.use("a", "2", SOON)
    use(store, 2)
    store._checkpoint()
    assert in_the_file_itself(file, tmp_path) == 2


@pytest.mark.parametrize("request_sha256", [None, "a" * 64], ids=["tokens", "requests"])
def test_no_call_removes_more_than_a_hundred_tokens_and_in_the_end_all_expired_are_gone(
    store: InstanceTokens, file: Path, clock: Clock, request_sha256: str | None
) -> None:
    def uses(*numbers: int) -> None:
        for n in numbers:
            assert store.use("a", str(n), SOON, request_sha256) is Use.FIRST

    uses(*range(450))
    clock.now += 3_600
    left = []
    for n in range(450, 456):
        store.use("a", str(n), SOON + timedelta(hours=2), request_sha256)
        left.append(rows(file))
    assert left == [351, 252, 153, 54, 5, 6]
    if request_sha256:
        assert rows(file, "proxied_requests") == 6


def test_two_workers_move_one_log(file: Path, clock: Clock, tmp_path: Path) -> None:
    workers = [InstanceTokens(file, clock) for _ in range(2)]
    for n in range(8):
        use(workers[n % 2], n)
    threads = [threading.Thread(target=worker._checkpoint) for worker in workers for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert in_the_file_itself(file, tmp_path) == 8
    for n in range(8):
        assert workers[(n + 1) % 2].use("a", str(n), SOON) is Use.REPLAYED
