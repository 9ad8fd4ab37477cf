"""The chain beside partitions that are dropped: its rows stay, are small, and bear witness."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from service.database import table_revisions
from service.database.engines import open_engine
from service.decision_log.chain_key import ChainKey
from service.decision_log.frames import LogRecordKind
from service.decision_log.instants import microseconds, new_call_id
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.partitions import PARTITIONED, month_of, name_of, partition_statement
from service.decision_log.records_folder import RecordsFolder
from service.decision_log.retention import prune
from service.decision_log.rows import AccessRow, LogEntry, encode_entry, entry_of
from service.decision_log.verification import PRUNED, Verified, verify
from tests.e2e.decision_log.postgres import Postgres
from tests.e2e.decision_log.test_postgres_log import drained, drainer_of
from tests.e2e.decision_log.test_postgres_scale import new_database
from tests.unit.decision_log.builders import call, shown

NOW = datetime.now(UTC)
OLD = month_of(NOW - timedelta(days=200))
BOUND = month_of(NOW - timedelta(days=100))
IN_OLD, IN_KEPT = 3, 2

BYTES_A_RECORD = 400
"""With its indexes; a call has some six kilobytes, most of which go with its month."""


@pytest.fixture
def url(server: Postgres) -> str:
    """A log with calls of an old month and of this one, in one chain."""
    url = new_database(server, "chains")
    table_revisions.upgrade(url, DECISION_LOG)
    with open_engine(url).begin() as connection:
        for table in PARTITIONED:
            connection.execute(text(partition_statement(table, OLD)))
    return url


Tell = Callable[[datetime], None]


@pytest.fixture
def told(url: str, tmp_path: Path) -> Tell:
    """Puts a removal of all before an instant on record."""
    writer, drainer = drainer_of(tmp_path, url)
    days = [*(OLD + timedelta(days=n) for n in range(IN_OLD)), *([NOW] * IN_KEPT)]
    for n, day in enumerate(days):
        entry = entry_of(call(at=day, cards=[shown(f"card-{n}")]))
        writer.append(LogRecordKind.CALL, encode_entry(entry))
    drained(drainer)

    def tell(before: datetime) -> None:
        detail = json.dumps({"before": before.isoformat()})
        row = AccessRow(new_call_id(NOW), microseconds(NOW), "operator", PRUNED, detail)
        writer.append(LogRecordKind.ACCESS, encode_entry(LogEntry(accesses=[row])))
        drained(drainer)

    return tell


def found(url: str, folder: Path) -> Verified:
    key = ChainKey(b"a key of thirty-two bytes, or so")
    with open_engine(url).connect() as connection:
        return verify(connection, RecordsFolder(folder), key)


def change(url: str, statement: str) -> None:
    with open_engine(url).begin() as connection:
        assert connection.execute(text(statement)).rowcount


def test_a_month_that_was_dropped_on_record_leaves_the_chain_whole(
    url: str, tmp_path: Path, told: Tell
) -> None:
    told(BOUND)
    assert prune(open_engine(url), BOUND) == IN_OLD
    result = found(url, tmp_path)
    assert result.whole, (result.first_break_in_rows, result.first_break_in_segments)
    assert result.pruned == IN_OLD
    assert result.records == IN_OLD + IN_KEPT + 2, "the head, and the record of the removal, too"


def test_a_month_that_was_dropped_off_the_record_is_a_break(
    url: str, tmp_path: Path, told: Tell
) -> None:
    with open_engine(url).begin() as connection:
        for table in PARTITIONED:
            connection.execute(text(f"DROP TABLE {name_of(table, OLD)}"))
    broken = found(url, tmp_path).first_break_in_rows
    assert broken is not None
    assert (broken.kind, broken.place.rpartition(" ")[2]) == ("removed", "1")


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("DELETE FROM chain_record WHERE sequence = 2", "removed"),
        ("UPDATE chain_record SET call_id = NULL WHERE sequence = 2", "changed"),
        ("UPDATE chain_record SET recorded_at = recorded_at + 1 WHERE sequence = 2", "changed"),
        ("DELETE FROM call WHERE received_at > extract(epoch from now() - interval '1 day') * 1e6",
         "removed"),
    ],
)  # fmt: skip
def test_after_a_month_was_dropped_its_hashes_still_bear_witness(
    url: str, tmp_path: Path, told: Tell, statement: str, kind: str
) -> None:
    """Of what stays nothing can be taken, and of what went nothing can be put in its place."""
    told(BOUND)
    prune(open_engine(url), BOUND)
    change(url, statement)
    broken = found(url, tmp_path).first_break_in_rows
    assert broken is not None
    assert broken.kind == kind


def test_a_record_of_the_chain_is_small(url: str) -> None:
    """The rows that no retention removes: hashes and a time, of nobody."""
    records = 20_000
    with open_engine(url).begin() as connection:
        connection.execute(
            text(
                "INSERT INTO chain_record (chain, sequence, kind, form, recorded_at, length,"
                " call_id, content_hash, hash, mac) SELECT 7, n, 2, 1, n, 5000, md5(n::text),"
                " sha256(n::text::bytea), sha256(n::text::bytea), sha256(n::text::bytea)"
                " FROM generate_series(1, :records) n"
            ),
            {"records": records},
        )
        size = connection.execute(text("SELECT pg_total_relation_size('chain_record')")).scalar()
    assert size / records < BYTES_A_RECORD
