"""What is in the segments comes into the rows, each record once, whatever stops in between."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.database import table_revisions
from service.database.engines import database_file
from service.decision_log import drain as drain_module
from service.decision_log.call_record import CallRecord
from service.decision_log.chain_key import ChainKey, make_key
from service.decision_log.chain_writer import ChainWriter
from service.decision_log.drain import Drainer
from service.decision_log.frames import LogRecordKind, frame_length
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.records_folder import RecordsFolder
from service.decision_log.rows import LogEntry, encode_entry, entry_of
from service.decision_log.sqlite_store import SqliteStore
from service.errors import EntryRejected, StoreUnavailable
from tests.conftest import ROOT
from tests.unit.decision_log.builders import call, shown

KEY = ChainKey(b"a key of thirty-two bytes, or so")


class Switch(SqliteStore):
    """A store that can be away, fail after its commit, be slow, or reject one patient's entries."""

    away = False
    fails_after_commit = False
    rejects = ""
    bytes_per_second = 0.0
    batches: list[int]

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.batches = []

    def write(self, entry: LogEntry, deadline: float) -> None:
        if self.away:
            raise StoreUnavailable("switched off")
        if self.rejects and any(row.patient == self.rejects for row in entry.calls):
            raise EntryRejected("never")
        if self.bytes_per_second:
            size = sum(len(row.kept) for row in entry.calls)
            self.batches.append(size)
            time.sleep(size / self.bytes_per_second)
        super().write(entry, deadline)
        if self.fails_after_commit:
            self.close()
            raise StoreUnavailable("the acknowledgement was lost")

    def ping(self, deadline: float) -> None:
        if self.away:
            raise StoreUnavailable("switched off")
        super().ping(deadline)


@pytest.fixture
def folder(tmp_path: Path) -> RecordsFolder:
    return RecordsFolder(tmp_path / "records")


@pytest.fixture
def switch(url: str) -> Switch:
    return Switch(url)


@pytest.fixture
def drainer(folder: RecordsFolder, switch: Switch, url: str) -> Iterator[Drainer]:
    def prepare() -> None:
        table_revisions.upgrade(url, DECISION_LOG)

    drainer = Drainer(folder, switch, lambda: KEY, 0.0, prepare)
    yield drainer
    drainer.close()


@pytest.fixture
def writer(folder: RecordsFolder) -> Iterator[ChainWriter]:
    writer = ChainWriter(folder, lambda: KEY)
    yield writer
    writer.close()


def keep(writer: ChainWriter, *records: CallRecord) -> None:
    for record in records:
        writer.append(LogRecordKind.CALL, encode_entry(entry_of(record)))


def patients(url: str) -> list[str]:
    with sqlite3.connect(database_file(url)) as log:
        return [row[0] for row in log.execute("SELECT patient FROM call ORDER BY patient")]


def numbers(count: int, start: int = 0) -> list[CallRecord]:
    return [call(patient=f"Patient/{n:03}") for n in range(start, start + count)]


def named(count: int) -> list[str]:
    return [f"Patient/{n:03}" for n in range(count)]


def test_what_was_kept_is_in_the_rows_with_its_place_in_the_chain(
    writer: ChainWriter, drainer: Drainer, url: str
) -> None:
    keep(writer, call(cards=[shown("one")]), call(patient="Patient/ben"))
    drainer.sweep()
    assert patients(url) == ["Patient/ann", "Patient/ben"]
    with sqlite3.connect(database_file(url)) as log:
        rows = log.execute(
            "SELECT r.sequence, c.patient FROM chain_record r LEFT JOIN call c USING (call_id)"
            " ORDER BY r.sequence"
        ).fetchall()
    assert rows == [(0, None), (1, "Patient/ann"), (2, "Patient/ben")]


def test_what_is_written_while_it_drains_follows(
    writer: ChainWriter, drainer: Drainer, url: str
) -> None:
    for n in range(5):
        keep(writer, *numbers(3, 3 * n))
        drainer.sweep()
    assert patients(url) == named(15)
    assert drainer.sweep() == 0


def test_several_chains_come_in_one_batch(
    folder: RecordsFolder, drainer: Drainer, switch: Switch, url: str
) -> None:
    switch.bytes_per_second = 1e9
    for n in range(4):
        keep(ChainWriter(folder, lambda: KEY), *numbers(5, 5 * n))
    drainer.sweep()
    assert patients(url) == named(20)
    assert len(switch.batches) == 1


def test_while_the_store_is_away_records_wait_and_then_come_once(
    writer: ChainWriter, drainer: Drainer, switch: Switch, url: str
) -> None:
    keep(writer, *numbers(3))
    drainer.sweep()
    switch.away = True
    keep(writer, *numbers(900, 3))
    with pytest.raises(StoreUnavailable):
        drainer.sweep()
    switch.away = False
    drainer.sweep()
    assert patients(url) == named(903)


def test_a_commit_whose_acknowledgement_was_lost_is_not_repeated(
    writer: ChainWriter, drainer: Drainer, switch: Switch, url: str
) -> None:
    keep(writer, *numbers(10))
    switch.fails_after_commit = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            drainer.sweep()
        keep(writer, call(patient="Patient/zoe"))
    switch.fails_after_commit = False
    drainer.sweep()
    assert Counter(patients(url)) == Counter([*named(10), *["Patient/zoe"] * 3])


def test_a_drainer_that_starts_anew_continues_where_the_rows_end(
    folder: RecordsFolder, writer: ChainWriter, drainer: Drainer, url: str
) -> None:
    keep(writer, *numbers(5))
    drainer.sweep()
    keep(writer, *numbers(5, 5))
    other = Drainer(folder, SqliteStore(url), lambda: KEY, 0.0)
    assert other.sweep() == 5
    other.close()
    assert patients(url) == named(10)


def test_two_drainers_at_once_keep_each_record_once(
    folder: RecordsFolder, writer: ChainWriter, drainer: Drainer, url: str
) -> None:
    other = Drainer(folder, SqliteStore(url), lambda: KEY, 1000.0)
    for n in range(10):
        keep(writer, *numbers(3, 3 * n))
        (drainer, other)[n % 2].sweep()
        if n % 3 == 0:
            other.sweep()
    drainer.sweep()
    other.close()
    assert patients(url) == named(30)


def test_a_record_that_the_store_rejects_is_set_aside_and_holds_up_nothing(
    folder: RecordsFolder, writer: ChainWriter, drainer: Drainer, switch: Switch, url: str
) -> None:
    switch.rejects = "Patient/odd"
    keep(writer, call(), call(patient="Patient/odd"), call(patient="Patient/ben"))
    drainer.sweep()
    assert patients(url) == ["Patient/ann", "Patient/ben"]
    assert folder.set_aside_count() == 1
    drainer.look_at_all()
    drainer.sweep()
    assert folder.set_aside_count() == 1


def test_bytes_that_are_no_rows_are_set_aside(
    folder: RecordsFolder, writer: ChainWriter, drainer: Drainer, url: str
) -> None:
    writer.append(LogRecordKind.CALL, b"not a record")
    keep(writer, call())
    drainer.sweep()
    assert patients(url) == ["Patient/ann"]
    assert folder.set_aside_count() == 1


# Truncated, damaged, forged -----------------------------------------------------------------------


class _Whole:
    """One segment with some calls, and where each of its frames ends."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as path:
            folder = RecordsFolder(Path(path))
            writer = ChainWriter(folder, lambda: KEY)
            self.ends: list[int] = []
            for record in numbers(4):
                keep(writer, record)
                self.ends.append(sum(size for _, size in folder.sizes()))
            writer.close()
            ((self.name, _),) = folder.sizes()
            self.data = folder.file(self.name).read_bytes()


WHOLE = _Whole()


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cut=st.integers(0, len(WHOLE.data)))
def test_wherever_a_segment_is_cut_each_whole_record_is_in_the_rows_once(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Cut by a death at any byte: what ends before it was answered, what does not was not."""
    path = tmp_path_factory.mktemp("cut")
    url = f"sqlite:///{path}/log.sqlite3"
    shutil.copy(_empty_log(tmp_path_factory), path / "log.sqlite3")
    folder = RecordsFolder(path / "records")
    folder.make()
    segment = folder.file(WHOLE.name)
    segment.write_bytes(WHOLE.data[:cut])
    whole = sum(end <= cut for end in WHOLE.ends)
    first = Drainer(folder, SqliteStore(url), lambda: KEY, 1000.0)
    first.sweep()
    first.close()
    assert patients(url) == named(whole)
    # A service that starts later goes on in a chain of its own.
    later = ChainWriter(folder, lambda: KEY)
    keep(later, call(patient="Patient/zoe"))
    later.close()
    second = Drainer(folder, SqliteStore(url), lambda: KEY, 1000.0)
    second.sweep()
    second.close()
    assert patients(url) == [*named(whole), "Patient/zoe"]


def _empty_log(factory: pytest.TempPathFactory) -> Path:
    file = factory.getbasetemp() / "empty-log.sqlite3"
    if not file.exists():
        table_revisions.upgrade(f"sqlite:///{file}", DECISION_LOG)
    return file


@settings(
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(at=st.integers(0, len(WHOLE.data) - 1), flip=st.integers(1, 255))
def test_wherever_a_byte_is_changed_the_records_around_it_are_in_the_rows_once(
    at: int, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("changed")
    url = f"sqlite:///{path}/log.sqlite3"
    shutil.copy(_empty_log(tmp_path_factory), path / "log.sqlite3")
    folder = RecordsFolder(path / "records")
    folder.make()
    data = bytearray(WHOLE.data)
    data[at] ^= flip
    folder.file(WHOLE.name).write_bytes(data)
    drainer = Drainer(folder, SqliteStore(url), lambda: KEY, 0.0)
    drainer.sweep()
    drainer.close()
    hit = sum(end <= at for end in WHOLE.ends)
    of_head = frame_length(WHOLE.data, 0)
    assert of_head is not None
    head = at < of_head
    expected = named(4) if head else [p for n, p in enumerate(named(4)) if n != hit]
    assert patients(url) == expected
    if at < WHOLE.ends[-2]:  # what cannot be told from a cut end is left out silently
        assert folder.set_aside_count() == 1


def test_a_forged_record_is_not_drained(
    folder: RecordsFolder, writer: ChainWriter, drainer: Drainer, url: str
) -> None:
    keep(writer, call())
    forger = ChainWriter(folder, lambda: ChainKey(b"another key of thirty-two bytes."))
    keep(forger, call(patient="Patient/forged"))
    forger.close()
    drainer.sweep()
    assert patients(url) == ["Patient/ann"]
    assert folder.set_aside_count() == 1
    drainer.close()
    again = Drainer(folder, SqliteStore(url), lambda: KEY, 0.0)
    again.sweep()
    again.close()
    (kept,) = folder.path.glob("*.damaged")
    assert b"Patient/forged" in kept.read_bytes()
    assert len(folder.segments()) == 1  # the one that is still written


def test_records_that_are_missing_between_others_are_told_as_lost(
    folder: RecordsFolder, writer: ChainWriter, drainer: Drainer, url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("service.decision_log.chain_writer.LARGEST_SEGMENT", 1)
    keep(writer, call(patient="Patient/000"))
    drainer.sweep()
    keep(writer, call(patient="Patient/gone"), call(patient="Patient/gone"))
    gone = [n for n in folder.segments() if n.number in (1, 2)]
    keep(writer, call(patient="Patient/001"))
    for name in gone:
        folder.file(name).unlink()
    drainer.sweep()
    assert patients(url) == named(2)
    assert folder.state().lost == 4  # two records, and the heads of their segments


# The database goes, and comes back --------------------------------------------------------------


def delete_database(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


def move_database(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))


def replace_database(file: Path) -> None:
    fresh = file.with_name("fresh.sqlite3")
    table_revisions.upgrade(f"sqlite:///{fresh}", DECISION_LOG)
    delete_database(file)
    fresh.rename(file)


@pytest.mark.parametrize("harm", [delete_database, move_database, replace_database])
def test_a_database_file_that_is_gone_is_noticed_and_filled_again_from_the_segments(
    writer: ChainWriter, folder: RecordsFolder, switch: Switch, url: str,
    harm: Callable[[Path], None],
) -> None:  # fmt: skip
    def prepare() -> None:
        table_revisions.upgrade(url, DECISION_LOG)

    drainer = Drainer(folder, switch, lambda: KEY, 1000.0, prepare)
    keep(writer, *numbers(5))
    drainer.sweep()
    harm(database_file(url))
    keep(writer, *numbers(5, 5))
    for _ in range(3):
        try:
            drainer.sweep()
        except StoreUnavailable:
            drainer.look_at_all()
    assert patients(url) == named(10)
    drainer.close()


def test_a_database_that_comes_back_older_gets_what_it_lacks(
    writer: ChainWriter, folder: RecordsFolder, url: str, tmp_path: Path
) -> None:
    drainer = Drainer(folder, SqliteStore(url), lambda: KEY, 1000.0)
    keep(writer, *numbers(3))
    drainer.sweep()
    with (
        sqlite3.connect(database_file(url)) as log,
        sqlite3.connect(tmp_path / "backup.sqlite3") as backup,
    ):
        log.backup(backup)
    keep(writer, *numbers(4, 3))
    drainer.sweep()
    drainer.close()
    delete_database(database_file(url))
    shutil.copy(tmp_path / "backup.sqlite3", database_file(url))
    again = Drainer(folder, SqliteStore(url), lambda: KEY, 1000.0)
    again.sweep()
    again.close()
    assert patients(url) == named(7)


def test_tables_that_are_emptied_beneath_a_running_service_are_filled_again(
    writer: ChainWriter, folder: RecordsFolder, url: str
) -> None:
    drainer = Drainer(folder, SqliteStore(url), lambda: KEY, 1000.0)
    keep(writer, *numbers(3))
    drainer.sweep()
    with sqlite3.connect(database_file(url)) as log:
        for table in ("call", "determination", "chain_record"):
            log.execute(f"DELETE FROM {table}")
    keep(writer, *numbers(3, 3))
    drainer.sweep()
    drainer.close()
    assert patients(url) == named(6)


# Large records, slow links, old segments ----------------------------------------------------------


def large(n: int, size: int) -> CallRecord:
    return call(patient=f"Patient/{n:03}", request=os.urandom(size))


def test_a_batch_has_no_more_bytes_than_the_link_carries(
    writer: ChainWriter, drainer: Drainer, switch: Switch, url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Forty calls of 0.9 MB behind a link of 30 MB/s, a tenth of the goal's time for each."""
    monkeypatch.setattr(drain_module, "_GOAL_SECONDS", 0.1)
    switch.bytes_per_second = 30e6
    keep(writer, *(large(n, 900_000) for n in range(40)))
    drainer.sweep()
    assert patients(url) == named(40)
    assert max(switch.batches) < drain_module.BATCH_BYTES + 1_000_000
    assert max(switch.batches[2:]) < 0.1 * 30e6 + 2 * 900_000


def test_a_write_that_fails_makes_the_next_batch_smaller(
    writer: ChainWriter, drainer: Drainer, switch: Switch, url: str
) -> None:
    keep(writer, *(large(n, 400_000) for n in range(20)))
    switch.bytes_per_second = 1e9
    switch.fails_after_commit = True
    with pytest.raises(StoreUnavailable):
        drainer.sweep()
    switch.fails_after_commit = False
    drainer.sweep()
    assert switch.batches[1] < switch.batches[0] / 2
    assert patients(url) == named(20)


def test_drained_segments_are_removed_after_their_time_and_not_before(
    folder: RecordsFolder, drainer: Drainer, url: str
) -> None:
    keeping = Drainer(folder, SqliteStore(url), lambda: KEY, 1000.0)
    writer = ChainWriter(folder, lambda: KEY)
    keep(writer, call())
    drainer.sweep()
    assert len(folder.segments()) == 1  # its owner still writes to it
    writer.close()
    keeping.sweep()
    assert len(folder.segments()) == 1
    drainer.look_at_all()
    drainer.sweep()
    assert folder.segments() == []
    assert patients(url) == ["Patient/ann"]
    keeping.close()


def test_a_segment_that_is_not_in_the_rows_is_never_removed(
    folder: RecordsFolder, writer: ChainWriter, drainer: Drainer, switch: Switch
) -> None:
    keep(writer, call())
    writer.close()
    switch.away = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            drainer.sweep()
    assert len(folder.segments()) == 1


# Killed -------------------------------------------------------------------------------------------


SCRIPT = """
import os, sys, time
from pathlib import Path
from service.decision_log.chain_key import make_key
from service.decision_log.chain_writer import ChainWriter
from service.decision_log.drain import Drainer
from service.decision_log.frames import LogRecordKind
from service.decision_log.records_folder import RecordsFolder
from service.decision_log.rows import encode_entry, entry_of
from service.decision_log.sqlite_store import SqliteStore
from tests.unit.decision_log.builders import call

folder, url = RecordsFolder(Path(sys.argv[1])), sys.argv[2]
key = make_key(Path(sys.argv[3]))
writer = ChainWriter(folder, lambda: key)
for n in range(20):
    writer.append(LogRecordKind.CALL, encode_entry(entry_of(call(patient=f"Patient/{n:03}"))))

class Dying(SqliteStore):
    def write(self, entry, deadline):
        if sys.argv[4] == "before":
            os._exit(9)
        super().write(entry, deadline)
        os._exit(9)

Drainer(folder, Dying(url), lambda: key, 1000.0).sweep()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_between_append_and_drain_or_between_drain_and_its_note_each_is_there_once(
    folder: RecordsFolder, url: str, tmp_path: Path, when: str
) -> None:
    file = tmp_path / "key"
    died = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder.path), url, str(file), when],
        cwd=ROOT,
        check=False,
    )
    assert died.returncode == 9
    assert patients(url) == ([] if when == "before" else named(20))
    key = make_key(file)
    drainer = Drainer(folder, SqliteStore(url), lambda: key, 1000.0)
    drainer.sweep()
    drainer.close()
    assert patients(url) == named(20)
