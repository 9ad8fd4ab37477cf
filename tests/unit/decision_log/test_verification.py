"""The first break of the chain is named, with its kind, in segments and in rows."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.database.engines import database_file
from service.decision_log.anchors import Anchor, Anchors, read_anchors
from service.decision_log.chain_key import ChainKey, make_key
from service.decision_log.chain_writer import ChainWriter
from service.decision_log.drain import Drainer
from service.decision_log.frames import HEAD_BYTES, LogRecordKind, chain_name, seal
from service.decision_log.instants import first_call_id
from service.decision_log.opening import open_recorder
from service.decision_log.recorder import Recorder, RecordsPlace
from service.decision_log.records_folder import RecordsFolder
from service.decision_log.retention import prune
from service.decision_log.rows import encode_entry, entry_of
from service.decision_log.sqlite_store import SqliteStore
from service.decision_log.verification import PRUNED, Verified, verify
from service.errors import ConfigurationError
from tests.unit.decision_log.builders import AT, answer_showing, call, shown
from tests.unit.decision_log.test_stats_and_prune import said


@pytest.fixture
def folder(tmp_path: Path) -> RecordsFolder:
    return RecordsFolder(tmp_path / "records")


@pytest.fixture
def recorded(url: str, folder: RecordsFolder) -> Iterator[Recorder]:
    """Three calls with cards, feedback and an access, in segments and rows."""
    recorder = open_recorder(url, RecordsPlace(folder.path))
    for n in range(3):
        recorder.record(
            call(
                patient=f"Patient/{n}",
                cards=[shown(f"card-{n}-b"), shown(f"card-{n}-a")],
                answer=answer_showing(f"card-{n}-b", f"card-{n}-a"),
            )
        )
    recorder.record_feedback([said("card-0-a", "accepted")])
    recorder.record_feedback([said("card-0-a", "accepted")])
    recorder.record_access("clerk", "show", '{"assertion_id":"cc-1"}')
    assert recorder.settle(60)
    yield recorder
    recorder.stop()


@pytest.fixture
def found(recorded: Recorder, engine: Engine, folder: RecordsFolder) -> Callable[..., Verified]:
    def look(*anchors: Anchor) -> Verified:
        key = make_key(folder.path / "chain.key")
        with engine.connect() as connection:
            return verify(connection, folder, key, anchors)

    return look


def change(url: str, *statements: str) -> None:
    with sqlite3.connect(database_file(url)) as log:
        for statement in statements:
            log.execute(statement)


def test_what_nobody_touched_is_whole(found: Callable[..., Verified]) -> None:
    result = found()
    assert result.whole
    assert (result.records, result.records_in_segments, result.chains) == (7, 7, 1)
    assert result.other_keys == set()


@pytest.mark.parametrize(
    ("statement", "kind", "where"),
    [
        ("UPDATE call SET patient = 'Patient/other' WHERE patient = 'Patient/1'", "changed", "2"),
        ("UPDATE call SET kept = x'00' WHERE patient = 'Patient/1'", "changed", "2"),
        ("UPDATE determination SET covered = 'covered'", "changed", "1"),
        ("UPDATE card SET topic = 'x' WHERE card_uuid = 'card-2-a'", "changed", "3"),
        ("DELETE FROM card WHERE card_uuid = 'card-1-a'", "changed", "2"),
        ("DELETE FROM determination", "changed", "1"),
        ("DELETE FROM call WHERE patient = 'Patient/1'", "removed", "2"),
        ("UPDATE feedback SET outcome = 'overridden'", "changed", "4"),
        ("DELETE FROM feedback", "removed", "4"),
        ("UPDATE access_log SET who = 'nobody'", "changed", "6"),
        ("DELETE FROM access_log", "removed", "6"),
        ("DELETE FROM chain_record WHERE sequence = 2", "removed", "2"),
        (
            "UPDATE chain_record SET recorded_at = recorded_at + 1 WHERE sequence = 2",
            "changed",
            "2",
        ),
        ("UPDATE chain_record SET content_hash = x'00' WHERE sequence = 3", "changed", "3"),
        ("UPDATE chain_record SET mac = zeroblob(32) WHERE sequence = 2", "inserted", "2"),
        ("UPDATE chain_record SET content = x'00' WHERE sequence = 4", "changed", "4"),
    ],
)
def test_a_change_of_rows_is_named_with_its_record(
    found: Callable[..., Verified], url: str, statement: str, kind: str, where: str
) -> None:
    change(url, statement)
    broken = found().first_break_in_rows
    assert broken is not None
    assert (broken.kind, broken.place.rpartition(" ")[2]) == (kind, where)
    assert found().first_break_in_segments is None


def test_records_in_another_order_are_named(found: Callable[..., Verified], url: str) -> None:
    change(
        url,
        "UPDATE chain_record SET sequence = 99 WHERE sequence = 1",
        "UPDATE chain_record SET sequence = 1 WHERE sequence = 3",
        "UPDATE chain_record SET sequence = 3 WHERE sequence = 99",
    )
    broken = found().first_break_in_rows
    assert broken is not None
    assert broken.kind == "reordered"
    assert str(broken).endswith("record 1: it stands at 3")


def test_an_inserted_record_is_named(found: Callable[..., Verified], url: str) -> None:
    change(
        url,
        *(
            f"UPDATE chain_record SET sequence = {n + 1} WHERE sequence = {n}"
            for n in range(6, 1, -1)
        ),
        "INSERT INTO chain_record SELECT chain, 2, kind, form, recorded_at, length, NULL,"
        " content_hash, hash, mac, x'00' FROM chain_record WHERE sequence = 1",
    )
    broken = found().first_break_in_rows
    assert broken is not None
    assert broken.place.endswith("record 2")
    assert broken.kind in ("inserted", "reordered")


@pytest.mark.parametrize("table", ["call", "determination", "card"])
def test_an_inserted_row_is_named(found: Callable[..., Verified], url: str, table: str) -> None:
    later = f"{first_call_id(AT)[:-4]}ffff" + "0" * 16
    with sqlite3.connect(database_file(url)) as log:
        newest = log.execute("SELECT max(call_id) FROM call").fetchone()[0]
        later = "f" + newest[1:]
        log.execute(f"CREATE TEMP TABLE t AS SELECT * FROM {table} LIMIT 1")
        log.execute("UPDATE t SET call_id = ?", [later])
        if table == "card":
            log.execute("UPDATE t SET card_uuid = 'new'")
        log.execute(f"INSERT INTO {table} SELECT * FROM t")
    broken = found().first_break_in_rows
    assert broken is not None
    assert broken.kind == "inserted"
    assert later in broken.place


def test_whoever_computes_the_hashes_anew_without_the_key_is_found_out(
    found: Callable[..., Verified], recorded: Recorder, url: str, folder: RecordsFolder
) -> None:
    """The whole chain is made again with another content, and another key."""
    recorded.stop()
    change(url, "DELETE FROM chain_record", "DELETE FROM call", "DELETE FROM determination",
           "DELETE FROM card")  # fmt: skip
    forged = RecordsFolder(folder.path.parent / "forged")
    writer = ChainWriter(forged, lambda: ChainKey(b"not the key of the installation"))
    writer.append(LogRecordKind.CALL, encode_entry(entry_of(call(patient="Patient/forged"))))
    drainer = Drainer(
        forged, SqliteStore(url), lambda: ChainKey(b"not the key of the installation"), 1000.0
    )
    drainer.sweep()
    drainer.close()
    (name,) = [n for n in folder.segments() if n.number == 0]
    result = found(Anchor(chain_name(name.chain), 3, "00", "2026-11-22T15:30:00.000+00:00"))
    assert result.other_keys == {ChainKey(b"not the key of the installation").id}
    assert result.first_break_in_rows is not None
    assert result.first_break_in_rows.kind == "removed"


def test_a_chain_whose_end_was_cut_off_differs_from_its_anchor(
    found: Callable[..., Verified], recorded: Recorder, url: str, tmp_path: Path
) -> None:
    file = tmp_path / "anchors"
    assert recorded._process is not None
    (end,) = recorded._process._chains.ends
    Anchors(str(file), in_log=False).tell(end)
    anchors = read_anchors(file.read_bytes())
    assert file.stat().st_mode & 0o077 == 0
    assert found(*anchors).whole
    recorded.stop()
    change(url, "DELETE FROM chain_record WHERE sequence = 6", "DELETE FROM access_log")
    assert found().first_break_in_rows is None
    broken = found(*anchors).first_break_in_rows
    assert broken is not None
    assert broken.kind == "removed"
    assert "anchor" in broken.what


def test_a_chain_that_is_gone_is_missed_by_the_one_after(
    found: Callable[..., Verified], recorded: Recorder, url: str, folder: RecordsFolder
) -> None:
    recorded.stop()
    later = open_recorder(url, RecordsPlace(folder.path))
    later.record(call(patient="Patient/later"))
    later.stop()
    assert found().whole
    (first, _) = (n.chain for n in folder.segments())
    change(
        url,
        "DELETE FROM call WHERE patient <> 'Patient/later'",
        "DELETE FROM determination WHERE call_id NOT IN (SELECT call_id FROM call)",
        "DELETE FROM card",
        "DELETE FROM feedback",
        "DELETE FROM access_log",
        f"DELETE FROM chain_record WHERE chain = {first}",
    )
    broken = found().first_break_in_rows
    assert broken is not None
    assert broken.kind == "removed"
    assert broken.place.startswith(f"chain {chain_name(first)}")


def test_pruned_calls_are_no_break_if_the_chain_tells_of_the_pruning(
    found: Callable[..., Verified], recorded: Recorder, engine: Engine
) -> None:
    prune(engine, AT.replace(year=2027))
    assert not found().whole
    bound = AT.replace(year=2027)
    recorded.record_access("operator", PRUNED, json.dumps({"before": bound.isoformat()}))
    assert recorded.settle(60)
    result = found()
    assert result.first_break_in_rows is None
    assert result.pruned >= 3


def test_the_content_of_old_feedback_and_accesses_goes_and_the_chain_stays_whole(
    recorded: Recorder, engine: Engine, found: Callable[..., Verified], url: str
) -> None:
    bound = datetime.now(UTC)
    assert {kind for kind, _, content in rows_of(url) if content is not None} == {1, 3, 4}
    recorded.record_access("operator", PRUNED, json.dumps({"before": bound.isoformat()}))
    assert recorded.settle(60)
    prune(engine, bound)
    kept = rows_of(url)
    # The segment's head, and the record of the removal.
    assert [kind for kind, _, content in kept if content is not None] == [1, 4]
    result = found()
    assert result.whole, result.first_break_in_rows
    assert result.pruned == 6


def test_content_that_is_gone_without_a_record_of_it_is_a_break(
    found: Callable[..., Verified], url: str
) -> None:
    change(url, "UPDATE chain_record SET content = NULL WHERE kind = 3")
    broken = found().first_break_in_rows
    assert broken is not None
    assert broken.kind == "changed"


def rows_of(url: str) -> list[tuple[int, bytes, bytes | None]]:
    with sqlite3.connect(database_file(url)) as log:
        wanted = "SELECT kind, content_hash, content FROM chain_record ORDER BY sequence"
        found = log.execute(wanted).fetchall()
    log.close()
    return found


def test_calls_of_a_version_before_the_chain_are_counted(
    found: Callable[..., Verified], url: str
) -> None:
    with sqlite3.connect(database_file(url)) as log:
        log.execute("CREATE TEMP TABLE t AS SELECT * FROM call LIMIT 1")
        log.execute("UPDATE t SET call_id = '00' || substr(call_id, 3)")
        log.execute("INSERT INTO call SELECT * FROM t")
    result = found()
    assert result.whole
    assert result.calls_before_the_chain == 1


# Segments -----------------------------------------------------------------------------------------


def frames_of(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        length = HEAD_BYTES + int.from_bytes(data[at + 4 : at + 8], "big")
        found.append(data[at : at + length])
        at += length
    return found


def changed(frames: list[bytes], _: bytes) -> list[bytes]:
    third = bytearray(frames[2])
    third[-1] ^= 1
    return [*frames[:2], bytes(third), *frames[3:]]


def removed(frames: list[bytes], _: bytes) -> list[bytes]:
    return [*frames[:2], *frames[3:]]


def inserted(frames: list[bytes], forged: bytes) -> list[bytes]:
    return [*frames[:2], forged, *frames[2:]]


def reordered(frames: list[bytes], _: bytes) -> list[bytes]:
    return [*frames[:2], frames[3], frames[2], *frames[4:]]


def repeated(frames: list[bytes], _: bytes) -> list[bytes]:
    return [*frames[:3], frames[2], *frames[3:]]


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (changed, "changed"),
        (removed, "removed"),
        (inserted, "inserted"),
        (reordered, "reordered"),
        (repeated, "reordered"),
    ],
)
def test_a_change_of_a_segment_is_named(
    found: Callable[..., Verified], recorded: Recorder, folder: RecordsFolder,
    harm: Callable[[list[bytes], bytes], list[bytes]], kind: str,
) -> None:  # fmt: skip
    recorded.stop()
    (name,) = folder.segments()
    frames = frames_of(folder.file(name).read_bytes())
    before = frames[1][60:92]
    head, _ = seal(b"x", LogRecordKind.CALL, name.chain, 2, 1, before, b"another key, not ours")
    folder.file(name).write_bytes(b"".join(harm(frames, head + b"x")))
    result = found()
    assert result.first_break_in_segments is not None
    assert result.first_break_in_segments.kind == kind
    assert str(name) in result.first_break_in_segments.place
    assert result.first_break_in_rows is None


def test_a_line_that_is_no_anchor_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="anchors"):
        read_anchors(b'{"chain": 1}\n')
