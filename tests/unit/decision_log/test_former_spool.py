"""What a former version's spool still holds is taken over, each record once."""

import fcntl
import os
import sqlite3
import struct
import zlib
from pathlib import Path

import msgspec
import pytest

from service.database.engines import database_file
from service.decision_log.former_spool import take_over
from service.decision_log.opening import open_recorder
from service.decision_log.recorder import RecordsPlace
from service.decision_log.rows import LogEntry, encode_entry, entry_of
from tests.unit.decision_log.builders import call
from tests.unit.decision_log.test_stats_and_prune import said


def frame(payload: bytes) -> bytes:
    """A frame as the former version wrote it."""
    return struct.pack(">4sII", b"CCR1", len(payload), zlib.crc32(payload)) + payload


def patient(name: str) -> LogEntry:
    return entry_of(call(patient=name))


def spooled(folder: Path, *entries: LogEntry, name: str = "00001-1-aa.seg") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(b"".join(frame(encode_entry(e)) for e in entries))
    return path


def taken(folder: Path) -> list[str | None]:
    found: list[LogEntry] = []
    take_over(folder, found.append)
    return [row.patient for entry in found for row in entry.calls]


def test_entries_come_in_order_and_their_file_goes(tmp_path: Path) -> None:
    spooled(tmp_path, patient("c"), name="00002-1-aa.seg")
    spooled(tmp_path, patient("a"), patient("b"))
    assert taken(tmp_path) == ["a", "b", "c"]
    assert list(tmp_path.iterdir()) == []


def test_no_folder_is_no_spool(tmp_path: Path) -> None:
    assert taken(tmp_path / "none") == []


def test_a_torn_end_is_left_out_for_it_was_never_answered(tmp_path: Path) -> None:
    path = spooled(tmp_path, patient("a"), patient("b"))
    os.truncate(path, path.stat().st_size - 1)
    assert taken(tmp_path) == ["a"]
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_set_aside_after_its_whole_entries_were_taken(tmp_path: Path) -> None:
    path = spooled(tmp_path, patient("a"), patient("b"), patient("c"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert taken(tmp_path) == ["a", "c"]
    assert [p.suffix for p in tmp_path.iterdir()] == [".damaged"]


def test_a_file_that_an_older_process_still_writes_to_is_left_to_it(tmp_path: Path) -> None:
    path = spooled(tmp_path, patient("a"))
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert taken(tmp_path) == []
    assert taken(tmp_path) == ["a"]


def test_what_cannot_be_kept_stays(tmp_path: Path) -> None:
    spooled(tmp_path, patient("a"))

    def full(_: LogEntry) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        take_over(tmp_path, full)
    assert taken(tmp_path) == ["a"]


@pytest.mark.parametrize("former", ["spool", "records"])
def test_at_the_start_they_come_into_the_rows_once_whichever_folder_they_are_in(
    url: str, tmp_path: Path, former: str
) -> None:
    first = msgspec.msgpack.decode(encode_entry(patient("Patient/ann")))
    for row in first["determinations"]:
        row["programme"], row["gap"] = row.pop("program"), row.pop("undetermined")
    path = spooled(
        tmp_path / former, patient("Patient/ben"), LogEntry(feedback=[said("x", "accepted")])
    )
    path.write_bytes(path.read_bytes() + frame(msgspec.msgpack.encode(first)))
    copy = path.read_bytes()
    place = RecordsPlace(tmp_path / "records", former=(tmp_path / "spool",))
    for _ in range(2):
        recorder = open_recorder(url, place)
        recorder.start()
        recorder.stop()
        with sqlite3.connect(database_file(url)) as log:
            assert log.execute("SELECT count(*) FROM call").fetchone() == (2,)
            assert log.execute("SELECT count(*) FROM feedback").fetchone() == (1,)
            assert log.execute("SELECT count(*) FROM chain_record").fetchone()[0] >= 4
        assert not path.exists()
        path.write_bytes(copy)  # as after a crash before it was removed
