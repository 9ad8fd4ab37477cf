"""A record is on disk when it returns, whatever the database does; health says what is not safe."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.database import table_revisions
from service.database.engines import database_file
from service.decision_log import recorder as recorder_module
from service.decision_log.chain_key import ChainKey, make_key, read_key
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.opening import open_recorder
from service.decision_log.recorder import Recorder, RecordsPlace
from service.decision_log.records_folder import RecordsFolder
from service.decision_log.sqlite_store import SqliteStore
from service.errors import ConfigurationError, RecordsUnavailable, StoreUnavailable
from tests.unit.decision_log.builders import call
from tests.unit.decision_log.test_drain import Switch

LONG = 60.0


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries, probes and turns without waiting."""
    monkeypatch.setattr(recorder_module, "_FIRST_RETRY_SECONDS", 0.02)
    monkeypatch.setattr(recorder_module, "_LONGEST_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(recorder_module, "_TRY_LOCK_SECONDS", 0.05)
    monkeypatch.setattr(recorder_module, "_PROBE_SECONDS", 0.0)


@pytest.fixture
def switch(url: str) -> Switch:
    return Switch(url)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def recorder(switch: Switch, folder: Path) -> Iterator[Recorder]:
    recorder = Recorder(lambda: switch, lambda: None, RecordsPlace(folder))
    yield recorder
    recorder.stop()


def logged(url: str) -> list[str]:
    with sqlite3.connect(database_file(url)) as log:
        return [row[0] for row in log.execute("SELECT patient FROM call ORDER BY patient")]


@pytest.mark.requirement("crd-2.2.1:found-37", "crd-2.0.1:76")
def test_a_record_is_on_disk_when_record_returns_and_in_the_rows_a_moment_later(
    recorder: Recorder, folder: Path, url: str
) -> None:
    recorder.record(call(patient="Patient/ann"))
    assert sum(size for _, size in RecordsFolder(folder).sizes()) > 1000
    assert recorder.settle(LONG)
    assert logged(url) == ["Patient/ann"]
    health = recorder.health()
    assert (health.store_up, health.waiting.bytes, health.lost) == (True, 0, 0)


def test_while_the_store_is_away_records_wait_and_then_come_once(
    recorder: Recorder, switch: Switch, url: str
) -> None:
    recorder.record(call(patient="Patient/first"))
    assert recorder.settle(LONG)
    switch.away = True
    for n in range(100):
        recorder.record(call(patient=f"Patient/{n:03}"))
    assert not recorder.settle(0.1)
    until(lambda: not recorder.health().store_up)
    health = recorder.health()
    assert health.waiting.bytes > 50_000
    assert health.waiting.seconds > 0
    assert not health.refusing
    switch.away = False
    assert recorder.settle(LONG)
    assert logged(url) == [*(f"Patient/{n:03}" for n in range(100)), "Patient/first"]
    until(lambda: recorder.health().store_up)


def test_no_call_waits_for_a_store_that_hangs(recorder: Recorder, switch: Switch) -> None:
    hangs, ended, hung = threading.Event(), threading.Event(), threading.Event()

    def hang(_: float) -> None:
        hangs.set()
        ended.wait(LONG)
        hung.set()

    switch.ping = hang  # type: ignore[method-assign]
    recorder.start()
    assert hangs.wait(LONG)
    recorder.record(call())
    assert not hung.is_set()
    ended.set()


def test_where_no_segment_can_be_written_the_record_is_refused_and_it_is_said(
    recorder: Recorder, folder: Path
) -> None:
    folder.write_text("a file where the folder should be")
    with pytest.raises(RecordsUnavailable):
        recorder.record(call())
    assert recorder.health().refusing
    folder.unlink()
    recorder.record(call())
    assert not recorder.health().refusing


def test_health_knows_by_a_write_of_its_own_before_a_call_is_refused(
    recorder: Recorder, folder: Path
) -> None:
    recorder.record(call())
    assert not recorder.health().refusing
    folder.rename(folder.with_name("gone"))  # at once: the drainer may write there meanwhile
    folder.write_text("a file where the folder should be")
    assert recorder.health().refusing
    folder.unlink()
    assert not recorder.health().refusing


def test_health_notices_a_deleted_segment_and_what_was_answered_is_written_anew(
    recorder: Recorder, switch: Switch, folder: Path, url: str
) -> None:
    switch.away = True
    recorder.record(call(patient="Patient/ann"))
    for segment in folder.glob("*.segment"):
        segment.unlink()
    assert recorder.health().lost == 0
    switch.away = False
    assert recorder.settle(LONG)
    assert logged(url) == ["Patient/ann"]


def test_health_tells_what_a_truncation_has_taken(
    recorder: Recorder, switch: Switch, folder: Path
) -> None:
    switch.away = True
    recorder.record(call())
    recorder.record(call())
    (segment,) = folder.glob("*.segment")
    os.truncate(segment, segment.stat().st_size - 10)
    assert recorder.health().lost == 1


def test_health_reads_no_segment_however_much_waits(
    recorder: Recorder, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch.away = True
    for _ in range(5):
        recorder.record(call(request=os.urandom(100_000)))
    read: list[int] = []
    real = os.pread

    def noted(descriptor: int, count: int, offset: int) -> bytes:
        data = real(descriptor, count, offset)
        if threading.current_thread() is threading.main_thread():
            read.append(len(data))
        return data

    monkeypatch.setattr("service.decision_log.segment_reader.os.pread", noted)
    assert recorder.health().waiting.bytes > 500_000
    assert sum(read) < 1000


def test_what_an_earlier_process_left_is_moved_at_the_start(
    recorder: Recorder, folder: Path, switch: Switch, url: str
) -> None:
    def away() -> None:
        raise StoreUnavailable("away")

    earlier = Recorder(lambda: SqliteStore(url), away, RecordsPlace(folder))
    earlier.record(call(patient="Patient/ann"))
    earlier.stop()
    assert logged(url) == []
    recorder.start()
    assert recorder.settle(LONG)
    assert logged(url) == ["Patient/ann"]


def test_of_several_services_on_one_folder_one_drains_and_another_takes_its_place(
    folder: Path, url: str
) -> None:
    services = [open_recorder(url, RecordsPlace(folder)) for _ in range(2)]
    for n, service in enumerate(services):
        service.record(call(patient=f"Patient/{n}"))
    assert services[0].settle(LONG)
    services[0].stop()
    services[1].record(call(patient="Patient/2"))
    assert services[1].settle(LONG)
    assert logged(url) == ["Patient/0", "Patient/1", "Patient/2"]
    services[1].stop()


def test_what_the_last_of_several_services_recorded_is_in_the_rows_after_its_stop(
    folder: Path, url: str
) -> None:
    first, last = (open_recorder(url, RecordsPlace(folder)) for _ in range(2))
    first.record(call(patient="Patient/0"))
    assert first.settle(LONG)
    last.record(call(patient="Patient/1"))
    first.stop()
    last.record(call(patient="Patient/2"))
    last.stop()
    assert logged(url) == ["Patient/0", "Patient/1", "Patient/2"]


def test_a_drain_lock_that_was_deleted_does_not_stop_the_rows(
    recorder: Recorder, folder: Path, url: str
) -> None:
    recorder.record(call(patient="Patient/ann"))
    assert recorder.settle(LONG)
    (folder / "drain.lock").unlink()
    recorder.record(call(patient="Patient/ben"))
    assert recorder.settle(LONG)
    assert logged(url) == ["Patient/ann", "Patient/ben"]


def test_nothing_is_opened_or_written_before_the_first_record(tmp_path: Path) -> None:
    place = RecordsPlace(tmp_path / "records")
    recorder = open_recorder(f"sqlite:///{tmp_path}/log.sqlite3", place)
    assert recorder.health().store_up
    recorder.stop()
    assert list(tmp_path.iterdir()) == []


def test_the_first_record_makes_the_file_and_its_tables(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/var/log.sqlite3"
    recorder = open_recorder(url, RecordsPlace(tmp_path / "records"))
    recorder.record(call(patient="Patient/ann"))
    assert recorder.settle(LONG)
    recorder.stop()
    assert logged(url) == ["Patient/ann"]
    assert table_revisions.revision(url, DECISION_LOG) == DECISION_LOG.revision


@pytest.mark.parametrize("error", [StoreUnavailable("away"), ConfigurationError("too new")])
def test_without_tables_records_wait_until_they_are_there(
    error: Exception, url: str, folder: Path
) -> None:
    ready = False

    def prepare() -> None:
        if not ready:
            raise error

    recorder = Recorder(lambda: SqliteStore(url), prepare, RecordsPlace(folder))
    recorder.record(call(patient="Patient/ann"))
    until(lambda: not recorder.health().store_up)
    assert logged(url) == []
    ready = True
    assert recorder.settle(LONG)
    assert logged(url) == ["Patient/ann"]
    recorder.stop()


def test_what_was_recorded_last_is_in_the_rows_after_a_stop(recorder: Recorder, url: str) -> None:
    recorder.record(call(patient="Patient/ann"))
    recorder.stop()
    assert logged(url) == ["Patient/ann"]


def test_logs_tell_what_happened_and_nothing_of_a_patient(
    recorder: Recorder, switch: Switch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.start()
    switch.away = True
    recorder.record(call(patient="Patient/ann"))
    until(lambda: not recorder.health().store_up)
    switch.away = False
    assert recorder.settle(LONG)
    printed = "".join(capsys.readouterr())
    assert "records wait in the segments" in printed
    assert "ann" not in printed


# The key ------------------------------------------------------------------------------------------


def test_the_key_is_made_once_for_its_owner_and_again_where_its_file_is_gone(
    recorder: Recorder, folder: Path
) -> None:
    recorder.record(call())
    file = folder / "chain.key"
    made = read_key(file)
    assert file.stat().st_mode & 0o077 == 0
    assert made is not None
    folder.rename(folder.with_name("gone"))  # at once: the drainer may write there meanwhile
    recorder.record(call())
    assert recorder.health().refusing is False
    assert read_key(file) == made


def test_a_key_that_others_can_read_or_that_is_a_link_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    make_key(file)
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        read_key(file)
    file.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*link"):
        read_key(link)
    (tmp_path / "short").write_bytes(b"short")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(ConfigurationError, match="at least"):
        read_key(tmp_path / "short")


def test_a_key_says_nothing_of_itself() -> None:
    key = ChainKey(b"the secret of this installation")
    assert "secret of" not in repr(key)
    assert len(key.id) == 16


def test_of_several_processes_that_start_at_once_one_makes_the_key(tmp_path: Path) -> None:
    found: list[ChainKey] = []
    threads = [
        threading.Thread(target=lambda: found.append(make_key(tmp_path / "key"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len(set(found)) == 1
