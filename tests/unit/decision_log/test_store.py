"""The SQLite store: all or nothing, once, and bounded in time."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import text

from service.database.engines import database_file, open_engine
from service.decision_log import rows, tables
from service.decision_log.rows import LogEntry, decode_entry, encode_entry, entry_of, unpack_payload
from service.decision_log.sqlite_store import SqliteStore
from service.errors import StoreUnavailable
from tests.unit.decision_log.builders import call, shown


def soon() -> float:
    return time.monotonic() + 60


def counts(url: str) -> dict[str, int]:
    with sqlite3.connect(database_file(url)) as log:
        return {
            name: log.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("call", "determination", "card", "feedback")
        }


@pytest.mark.parametrize(
    ("struct", "table"),
    [
        (rows.CallRow, tables.call),
        (rows.DeterminationRow, tables.determination),
        (rows.CardRow, tables.card),
        (rows.FeedbackRow, tables.feedback),
    ],
)
def test_a_row_has_the_columns_of_its_table_in_their_order(
    struct: type[msgspec.Struct], table: tables.Table
) -> None:
    assert list(struct.__struct_fields__) == [c.name for c in table.columns]


def test_a_call_is_kept_with_its_determinations_and_cards(store: SqliteStore, url: str) -> None:
    store.write(entry_of(call(cards=[shown("one"), shown("two")])), soon())
    assert counts(url) == {"call": 1, "determination": 1, "card": 2, "feedback": 0}


def test_the_same_entry_any_number_of_times_is_kept_once(store: SqliteStore, url: str) -> None:
    entry = entry_of(call(cards=[shown("one")]))
    for _ in range(3):
        store.write(entry, soon())
    assert counts(url) == {"call": 1, "determination": 1, "card": 1, "feedback": 0}


def test_request_answer_and_trace_come_back_byte_for_byte(store: SqliteStore, url: str) -> None:
    record = call(request=b'{"n": 1.00}', answer=b'{"cards":[]}')
    store.write(entry_of(record), soon())
    with sqlite3.connect(database_file(url)) as log:
        kept = unpack_payload(log.execute("SELECT kept FROM call").fetchone()[0])
    assert (kept.request, kept.answer) == (record.request, record.answer)
    assert kept.traces == [[("date", "2026-12-01", "occurrenceDateTime")]]


def test_an_entry_survives_the_way_through_the_spool() -> None:
    entry = entry_of(call(cards=[shown("one")]))
    assert decode_entry(encode_entry(entry)) == entry


def test_texts_of_strangers_are_cut_and_freed_of_nul() -> None:
    (row,) = entry_of(call(patient="Patient/\0" + "x" * 9000)).calls
    assert row.patient is not None
    assert len(row.patient) == rows.LONGEST_TEXT
    assert "\0" not in row.patient


def test_a_power_failure_takes_whole_transactions_only_which_the_segments_still_have(
    store: SqliteStore,
) -> None:
    connection = store._connection
    assert connection is not None
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (1,)


@pytest.mark.requirement("crd-2.0.1:79")
def test_only_its_owner_may_read_the_log(store: SqliteStore, url: str) -> None:
    store.write(entry_of(call()), soon())
    for file in database_file(url).parent.glob("log.*"):
        assert file.stat().st_mode & 0o077 == 0, file.name


def test_a_database_that_another_holds_locked_is_given_up_at_the_deadline(
    store: SqliteStore, url: str
) -> None:
    holder = sqlite3.connect(database_file(url), isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable, match="SQLITE_BUSY"):
        store.write(entry_of(call()), time.monotonic() + 0.05)
    holder.execute("ROLLBACK")
    store.ping(soon())
    store.write(entry_of(call()), soon())
    assert counts(url)["call"] == 1


def test_a_row_that_spoils_the_transaction_leaves_nothing_of_it(
    store: SqliteStore, url: str
) -> None:
    good = entry_of(call())
    bad = msgspec.structs.replace(entry_of(call()).calls[0], status="\ud800")
    with pytest.raises(Exception, match="UnicodeEncodeError"):
        store.write(LogEntry([*good.calls, bad], good.determinations), soon())
    assert counts(url) == {"call": 0, "determination": 0, "card": 0, "feedback": 0}


def test_a_store_is_opened_by_a_ping_and_never_by_a_write(url: str) -> None:
    store = SqliteStore(url)
    with pytest.raises(StoreUnavailable):
        store.write(entry_of(call()), soon())
    store.ping(soon())
    store.write(entry_of(call()), soon())
    store.close()
    assert counts(url)["call"] == 1


def test_a_file_without_tables_is_no_store(tmp_path: Path) -> None:
    store = SqliteStore(f"sqlite:///{tmp_path}/empty.sqlite3")
    with pytest.raises(StoreUnavailable, match="SQLITE_ERROR"):
        store.ping(soon())


def test_two_stores_on_one_file_keep_what_both_write(store: SqliteStore, url: str) -> None:
    other = SqliteStore(url)
    other.ping(soon())
    for n in range(20):
        (store, other)[n % 2].write(entry_of(replace(call(), patient=f"Patient/{n}")), soon())
    other.close()
    assert counts(url)["call"] == 20


def test_an_entry_spooled_by_the_first_version_is_read_under_the_new_names() -> None:
    entry = entry_of(call(cards=[shown("one")]))
    written = msgspec.msgpack.decode(encode_entry(entry))
    for row in written["determinations"]:
        row["programme"], row["gap"] = row.pop("program"), row.pop("undetermined")
    assert entry.determinations
    assert decode_entry(msgspec.msgpack.encode(written)) == entry


def test_another_process_does_not_take_the_wal_file_from_beneath_a_store(
    store: SqliteStore, url: str
) -> None:
    """It would if a check of the file's mode had released this process's locks on it."""
    store.write(entry_of(call()), soon())
    for _ in range(3):
        with open_engine(url).connect() as connection:
            connection.execute(text("SELECT count(*) FROM call"))
    file = database_file(url)
    script = f"import sqlite3; sqlite3.connect({str(file)!r}).execute('SELECT 1 FROM call').close()"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert file.with_name(f"{file.name}-wal").exists()
    store.write(entry_of(call()), soon())
    assert counts(url)["call"] == 2


def test_a_wal_file_that_is_deleted_is_noticed_at_the_next_write(
    store: SqliteStore, url: str
) -> None:
    store.write(entry_of(call()), soon())
    file = database_file(url)
    file.with_name(f"{file.name}-wal").unlink()
    with pytest.raises(StoreUnavailable, match="deleted"):
        store.write(entry_of(call()), soon())
    store.ping(soon())
    store.write(entry_of(call()), soon())
