"""Whoever comes first writes for all who wait; nobody waits beyond the deadline."""

import threading
import time
from collections.abc import Callable

import pytest

from service.decision_log.group_commit import StoreWriter
from service.decision_log.rows import LogEntry, entry_of
from service.errors import EntryRejected, StoreUnavailable
from tests.unit.decision_log.builders import call

LONG = 5.0


class FakeStore:
    """Keeps batches. `gate` holds a write until it is opened; `fails` says how a batch ends."""

    def __init__(self) -> None:
        self.batches: list[LogEntry] = []
        self.gate = threading.Event()
        self.gate.set()
        self.writing = threading.Event()
        self.fails: Callable[[LogEntry], Exception | None] = lambda _: None
        self.interrupted = 0
        self.closed = False

    def write(self, entry: LogEntry, deadline: float) -> None:
        self.writing.set()
        assert self.gate.wait(LONG)
        if error := self.fails(entry):
            raise error
        self.batches.append(entry)

    def ping(self, deadline: float) -> None:
        if error := self.fails(LogEntry()):
            raise error

    def interrupt(self) -> None:
        self.interrupted += 1
        self.fails = lambda _: StoreUnavailable("hung up")
        self.gate.set()

    def close(self) -> None:
        self.closed = True

    def patients(self) -> list[list[str | None]]:
        return [[row.patient for row in batch.calls] for batch in self.batches]


class Waiter(threading.Thread):
    """A thread that writes, and how that ended."""

    def __init__(self, writer: StoreWriter, name: str, within: float = LONG) -> None:
        super().__init__(daemon=True)
        self.writer, self.entry, self.within = writer, entry_of(call(patient=name)), within
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.writer.write(self.entry, self.within)
        except (StoreUnavailable, EntryRejected) as error:
            self.error = error

    def ended(self) -> Exception | None:
        self.join(LONG)
        assert not self.is_alive()
        return self.error


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def queue_up(writer: StoreWriter, store: FakeStore, *names: str) -> list[Waiter]:
    """The first is being written, the others wait."""
    store.gate.clear()
    store.writing.clear()
    waiters = [Waiter(writer, names[0])]
    assert store.writing.wait(LONG)
    for name in names[1:]:
        waiting = len(writer._waiting)
        waiters.append(Waiter(writer, name))
        until(lambda before=waiting: len(writer._waiting) > before)  # type: ignore[misc]
    return waiters


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def writer(store: FakeStore) -> StoreWriter:
    return StoreWriter(store)


def test_a_lone_entry_is_written_when_write_returns(store: FakeStore, writer: StoreWriter) -> None:
    writer.write(entry_of(call(patient="a")), LONG)
    assert store.patients() == [["a"]]


def test_those_who_wait_share_the_next_transaction(store: FakeStore, writer: StoreWriter) -> None:
    waiters = queue_up(writer, store, "a", "b", "c", "d")
    store.gate.set()
    assert [w.ended() for w in waiters] == [None] * 4
    first, *rest = store.patients()
    assert first == ["a"]
    assert sorted(p or "" for batch in rest for p in batch) == ["b", "c", "d"]
    assert len(rest) == 1


def test_a_failure_is_told_to_all_whose_entries_were_in_the_transaction(
    store: FakeStore, writer: StoreWriter
) -> None:
    waiters = queue_up(writer, store, "a", "b", "c")
    store.fails = lambda _: StoreUnavailable("gone")
    store.gate.set()
    assert [str(w.ended()) for w in waiters] == ["gone"] * 3


def test_one_entry_that_is_rejected_does_not_spoil_the_others(
    store: FakeStore, writer: StoreWriter
) -> None:
    def fails(entry: LogEntry) -> Exception | None:
        bad = any(row.patient == "bad" for row in entry.calls)
        return EntryRejected("never") if bad else None

    first, good, bad, other = queue_up(writer, store, "a", "good", "bad", "other")
    store.fails = fails
    store.gate.set()
    assert first.ended() is good.ended() is other.ended() is None
    assert isinstance(bad.ended(), EntryRejected)
    assert sorted(p or "" for batch in store.patients() for p in batch) == ["a", "good", "other"]


def test_who_waits_too_long_for_another_write_gives_up_and_is_not_written(
    store: FakeStore, writer: StoreWriter
) -> None:
    (first,) = queue_up(writer, store, "a")
    late = Waiter(writer, "late", within=0.02)
    assert isinstance(late.ended(), StoreUnavailable)
    store.gate.set()
    assert first.ended() is None
    assert store.patients() == [["a"]]


def test_a_store_that_hangs_is_hung_up_on_after_the_deadline(
    store: FakeStore, writer: StoreWriter
) -> None:
    store.gate.clear()
    waiter = Waiter(writer, "a", within=0.02)
    assert store.writing.wait(LONG)
    until(lambda: writer.hang_up_if_late() or store.interrupted > 0)  # type: ignore[func-returns-value]
    assert str(waiter.ended()) == "hung up"


def test_before_the_deadline_nobody_hangs_up(store: FakeStore, writer: StoreWriter) -> None:
    (waiter,) = queue_up(writer, store, "a")
    writer.hang_up_if_late()
    assert store.interrupted == 0
    store.gate.set()
    assert waiter.ended() is None


def test_after_trouble_the_next_one_writes_again(store: FakeStore, writer: StoreWriter) -> None:
    store.fails = lambda _: RuntimeError("a bug in the driver")
    with pytest.raises(StoreUnavailable, match="RuntimeError"):
        writer.write(entry_of(call()), LONG)
    store.fails = lambda _: None
    writer.write(entry_of(call(patient="b")), LONG)
    assert store.patients() == [["b"]]


def test_who_writes_never_pings_for_another(store: FakeStore, writer: StoreWriter) -> None:
    pinged = threading.Event()
    (first,) = queue_up(writer, store, "a")
    pinging = threading.Thread(target=lambda: writer.ping(LONG) or pinged.set(), daemon=True)  # type: ignore[func-returns-value]
    pinging.start()
    until(lambda: len(writer._waiting) == 1)
    second = Waiter(writer, "b")
    until(lambda: len(writer._waiting) == 2)
    leads: list[str] = []
    store.ping = lambda _: leads.append(threading.current_thread().name)  # type: ignore[method-assign]
    store.gate.set()
    assert first.ended() is second.ended() is None
    assert pinged.wait(LONG)
    assert leads == [pinging.name]


def test_a_ping_says_whether_the_store_is_there(store: FakeStore, writer: StoreWriter) -> None:
    writer.ping(LONG)
    store.fails = lambda _: StoreUnavailable("gone")
    with pytest.raises(StoreUnavailable, match="gone"):
        writer.ping(LONG)


def test_closing_waits_for_what_is_being_written(store: FakeStore, writer: StoreWriter) -> None:
    (waiter,) = queue_up(writer, store, "a")
    closing = threading.Thread(target=writer.close, daemon=True)
    closing.start()
    until(lambda: len(writer._waiting) == 1)
    assert not store.closed
    store.gate.set()
    assert waiter.ended() is None
    closing.join(LONG)
    assert store.closed


def test_a_hundred_threads_lose_nothing(store: FakeStore, writer: StoreWriter) -> None:
    waiters = [Waiter(writer, f"{n}") for n in range(100)]
    assert [w.ended() for w in waiters] == [None] * 100
    written = sorted(p or "" for batch in store.patients() for p in batch)
    assert written == sorted(f"{n}" for n in range(100))
