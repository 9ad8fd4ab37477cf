"""The store while it is there, else the spool, else no answer; and back into the store once."""

import errno
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.database import table_revisions
from service.database.engines import database_file
from service.decision_log import recorder as recorder_module
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.opening import open_recorder
from service.decision_log.recorder import Recorder
from service.decision_log.rows import LogEntry, encode_entry, entry_of
from service.decision_log.spool import Spool
from service.decision_log.sqlite_store import SqliteStore
from service.errors import ConfigurationError, EntryRejected, RecordsUnavailable, StoreUnavailable
from tests.unit.decision_log.builders import call

LONG = 10.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Switch(SqliteStore):
    """A store that can be away, or reject one patient's entries."""

    away = False
    rejects = ""

    def write(self, entry: LogEntry, deadline: float) -> None:
        if self.away:
            raise StoreUnavailable("switched off")
        if self.rejects and any(row.patient == self.rejects for row in entry.calls):
            raise EntryRejected("never")
        super().write(entry, deadline)

    def ping(self, deadline: float) -> None:
        if self.away:
            raise StoreUnavailable("switched off")
        super().ping(deadline)


@pytest.fixture
def switch(url: str) -> Switch:
    return Switch(url)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def recorder(switch: Switch, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    monkeypatch.setattr(recorder_module, "_FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(recorder_module, "_LONGEST_RETRY_SECONDS", 0.05)
    recorder = Recorder(lambda: switch, lambda: None, spool.folder, patience=LONG)
    yield recorder
    recorder.stop()


def logged(url: str) -> list[str]:
    with sqlite3.connect(database_file(url)) as log:
        return [row[0] for row in log.execute("SELECT patient FROM call ORDER BY patient")]


@pytest.mark.requirement("crd-2.2.1:found-37", "crd-2.0.1:76")
def test_a_record_is_in_the_log_when_record_returns(recorder: Recorder, url: str) -> None:
    recorder.record(call(patient="Patient/ann"))
    assert logged(url) == ["Patient/ann"]
    assert recorder.health().store_up
    assert recorder.health().spool.records == 0


def test_while_the_store_is_away_records_go_to_the_spool(
    recorder: Recorder, switch: Switch, url: str
) -> None:
    recorder.start()
    switch.away = True
    recorder.record(call(patient="Patient/ann"))
    recorder.record(call(patient="Patient/ben"))
    health = recorder.health()
    assert (health.store_up, health.spool.records, health.refusing) == (False, 2, False)
    assert logged(url) == []


def test_once_the_store_is_back_what_was_spooled_is_moved_exactly_once(
    recorder: Recorder, switch: Switch, spool: Spool, url: str
) -> None:
    recorder.start()
    switch.away = True
    for n in range(100):
        recorder.record(call(patient=f"Patient/{n:03}"))
    switch.away = False
    until(lambda: recorder.health().store_up and not spool.depth().records)
    assert logged(url) == [f"Patient/{n:03}" for n in range(100)]
    recorder.record(call(patient="Patient/later"))
    assert logged(url)[-1] == "Patient/later"


def test_what_was_moved_and_not_yet_deleted_is_moved_again_without_doubling(
    recorder: Recorder, spool: Spool, url: str
) -> None:
    record = call(patient="Patient/ann")
    recorder.record(record)
    spool.append(encode_entry(entry_of(record)))
    spool.seal()
    until(lambda: not spool.depth().records)
    assert logged(url) == ["Patient/ann"]


def test_what_an_earlier_process_left_is_moved_at_the_start(
    recorder: Recorder, spool: Spool, url: str
) -> None:
    spool.append(encode_entry(entry_of(call(patient="Patient/ann"))))
    spool.seal()
    recorder.start()
    until(lambda: not spool.depth().records)
    assert logged(url) == ["Patient/ann"]


def test_a_record_that_the_store_rejects_is_kept_aside_and_holds_up_nothing(
    recorder: Recorder, switch: Switch, spool: Spool, url: str
) -> None:
    switch.rejects = "Patient/odd"
    recorder.record(call(patient="Patient/odd"))
    recorder.record(call(patient="Patient/ann"))
    until(lambda: not spool.depth().records)
    assert logged(url) == ["Patient/ann"]
    assert recorder.health().spool.set_aside == 1


def test_bytes_in_the_spool_that_are_no_record_are_kept_aside(
    recorder: Recorder, spool: Spool
) -> None:
    spool.append(b"not a record")
    spool.seal()
    recorder.start()
    until(lambda: not spool.depth().records)
    assert recorder.health().spool.set_aside == 1


def test_only_where_neither_takes_it_the_record_is_refused(
    recorder: Recorder, switch: Switch, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Spool, payload: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    recorder.start()
    switch.away = True
    monkeypatch.setattr(Spool, "append", full)
    monkeypatch.setattr(Spool, "probe", lambda self: full(self, b""))
    with pytest.raises(RecordsUnavailable):
        recorder.record(call())
    assert recorder.health().refusing


def test_a_full_spool_is_no_trouble_while_the_store_is_there(
    recorder: Recorder, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Spool, payload: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "append", full)
    recorder.record(call(patient="Patient/ann"))
    assert logged(url) == ["Patient/ann"]


def test_a_spool_that_could_not_be_written_is_told_before_it_is_needed(
    recorder: Recorder, spool: Spool, url: str
) -> None:
    spool.folder.write_text("a file where the folder should be")
    recorder.record(call(patient="Patient/ann"))
    until(lambda: not recorder.health().spool_usable)
    assert recorder.health().store_up
    assert not recorder.health().refusing
    assert logged(url) == ["Patient/ann"]


def test_a_spool_that_cannot_be_read_keeps_nobody_from_the_store(
    recorder: Recorder, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Spool, suffix: str) -> list[Path]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Spool, "_files", denied)
    recorder.record(call(patient="Patient/ann"))
    until(lambda: recorder.health().store_up)
    assert logged(url) == ["Patient/ann"]
    assert not recorder.health().spool_usable


def test_without_tables_and_spool_it_is_told_before_the_first_call_is_refused(
    url: str, spool: Spool
) -> None:
    def prepare() -> None:
        raise StoreUnavailable("away")

    spool.folder.write_text("a file where the folder should be")
    recorder = Recorder(lambda: SqliteStore(url), prepare, spool.folder, patience=LONG)
    recorder.start()
    assert recorder.health().refusing
    recorder.stop()


def test_nothing_is_opened_or_written_before_the_first_record(tmp_path: Path) -> None:
    recorder = open_recorder(f"sqlite:///{tmp_path}/log.sqlite3", tmp_path / "spool", 1)
    assert recorder.health().store_up
    recorder.stop()
    assert list(tmp_path.iterdir()) == []


def test_the_first_record_makes_the_file_and_its_tables(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/var/log.sqlite3"
    recorder = open_recorder(url, tmp_path / "spool", LONG)
    recorder.record(call(patient="Patient/ann"))
    recorder.stop()
    assert logged(url) == ["Patient/ann"]
    assert table_revisions.revision(url, DECISION_LOG) == DECISION_LOG.revision


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ConfigurationError("too new")])
def test_without_tables_records_go_to_the_spool_until_they_are_there(
    error: Exception, url: str, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "_FIRST_RETRY_SECONDS", 0.02)
    ready = False

    def prepare() -> None:
        if not ready:
            raise error

    recorder = Recorder(lambda: SqliteStore(url), prepare, spool.folder, patience=LONG)
    recorder.record(call(patient="Patient/ann"))
    assert (logged(url), recorder.health().store_up) == ([], False)
    ready = True
    until(lambda: recorder.health().store_up and not spool.depth().records)
    assert logged(url) == ["Patient/ann"]
    recorder.stop()


def test_logs_tell_what_happened_and_nothing_of_a_patient(
    recorder: Recorder, switch: Switch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.start()
    switch.away = True
    recorder.record(call(patient="Patient/ann"))
    switch.away = False
    until(lambda: recorder.health().store_up)
    printed = "".join(capsys.readouterr())
    assert "keeping records in the spool" in printed
    assert "ann" not in printed
