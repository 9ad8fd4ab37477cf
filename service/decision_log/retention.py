"""Retention: removal of old calls with their determinations, cards and feedback, in small steps.

SQLite: batches of some megabytes, each followed by a checkpoint, so that its `-wal` file stays
small beside a running service. PostgreSQL: whole months are dropped with their partitions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Select, delete, func, select, text, update

from service.decision_log.frames import LogRecordKind
from service.decision_log.instants import first_call_id, instant_of, microseconds
from service.decision_log.partitions import drop_months_before, first_kept, make_months_ahead
from service.decision_log.tables import (
    access,
    call,
    card,
    chain_record,
    determination,
    feedback,
)
from service.errors import RecordsUnavailable

_BATCH = 500
_BATCH_BYTES = 4 * 1024 * 1024
LARGEST_WAL = 16 * 1024 * 1024
"""Bytes of SQLite's `-wal` file above which pruning waits for a checkpoint."""
_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_LOCK_MS = 100


@dataclass(frozen=True, slots=True)
class Removal:
    """Calls past their retention: those received before `before`, from `oldest` to `newest`.

    `before` is the instant asked for, on PostgreSQL the first of its month, UTC.
    """

    before: datetime
    calls: int
    oldest: datetime | None
    newest: datetime | None


def planned(connection: Connection, before: datetime) -> Removal:
    """The removal that `prune` would do now."""
    kept_from = first_kept(connection, before)
    old = call.c.call_id < first_call_id(kept_from)
    wanted = select(func.count(), func.min(call.c.call_id), func.max(call.c.call_id)).where(old)
    count, first, last = connection.execute(wanted).one()
    return Removal(
        kept_from,
        int(count),
        instant_of(first) if first else None,
        instant_of(last) if last else None,
    )


def prune(
    engine: Engine, before: datetime, progress: Callable[[int], None] = lambda _: None
) -> int:
    """Remove each call of `planned`, with its rows; returns their number.

    An interrupted run can be repeated. `progress` is called with the number of calls of each step.
    Raises RecordsUnavailable where it cannot go on beside other readers: what was removed until
    then is.
    """
    with engine.connect() as connection:
        kept_from = first_kept(connection, before)
        bound = first_call_id(kept_from)
        wal = _wal_of(connection)
        removed = 0
        make_months_ahead(connection, datetime.now(UTC))
        for calls in drop_months_before(connection, kept_from):
            removed += calls
            progress(calls)
        while ids := _next_calls(connection, bound):
            _remove_calls(connection, ids[-1])
            _checkpoint(connection, wal)
            removed += len(ids)
            progress(len(ids))
        for step in _rest(connection, kept_from):
            connection.execute(step)
            connection.commit()
            _checkpoint(connection, wal)
            progress(0)
    return removed


def _next_calls(connection: Connection, bound: str) -> list[str]:
    """The oldest calls before `bound`, as many as make one step."""
    size = func.length(call.c.kept)
    oldest = (
        select(call.c.call_id, size)
        .where(call.c.call_id < bound)
        .order_by(call.c.call_id)
        .limit(_BATCH)
    )
    ids: list[str] = []
    total = 0
    for call_id, length in connection.execute(oldest).all():
        total += length
        if ids and total > _BATCH_BYTES:
            break
        ids.append(call_id)
    return ids


def _remove_calls(connection: Connection, last: str) -> None:
    """Remove all up to a call, which are the oldest there are."""
    cards = select(card.c.card_uuid).where(card.c.call_id <= last)
    connection.execute(delete(feedback).where(feedback.c.card_uuid.in_(cards)))
    for table in (card, determination, call):
        connection.execute(delete(table).where(table.c.call_id <= last))
    connection.commit()


def _rest(connection: Connection, before: datetime) -> Iterator[Any]:
    """Statements that remove what no step above has, some rows at a time: rows of a call whose
    partition is gone, and what belongs to no call, by its own age.
    """
    bound, at = first_call_id(before), microseconds(before)
    for ids in _batches(connection, select(card.c.card_uuid).where(card.c.call_id < bound)):
        yield delete(feedback).where(feedback.c.card_uuid.in_(ids))
        yield delete(card).where(card.c.card_uuid.in_(ids))
    alone = select(determination.c.call_id).where(determination.c.call_id < bound)
    for ids in _batches(connection, alone):
        yield delete(determination).where(determination.c.call_id.in_(ids))
    known = select(card.c.card_uuid).where(card.c.card_uuid == feedback.c.card_uuid)
    unknown = select(feedback.c.feedback_id).where(feedback.c.received_at < at, ~known.exists())
    for ids in _batches(connection, unknown):
        yield delete(feedback).where(feedback.c.feedback_id.in_(ids))
    yield from _contents(connection, at)
    read = select(access.c.access_id).where(access.c.access_id < bound)
    for ids in _batches(connection, read):
        yield delete(access).where(access.c.access_id.in_(ids))


def _contents(connection: Connection, at: int) -> Iterator[Any]:
    """Remove the content of old records of feedback and accesses; their hashes stay in the chain.

    The content of a segment's head is about nobody, and links chains.
    """
    c = chain_record.c
    old = (
        select(c.chain, c.sequence)
        .where(c.content.is_not(None), c.recorded_at < at, c.kind != LogRecordKind.HEAD)
        .order_by(c.recorded_at)
        .limit(_BATCH)
    )
    while places := connection.execute(old).all():
        for chain, sequence in places:
            place = (c.chain == chain) & (c.sequence == sequence)
            connection.execute(update(chain_record).where(place).values(content=None))
        yield select(1)  # the caller commits this step


def _batches(connection: Connection, wanted: Select[Any]) -> Iterator[Iterable[str]]:
    while ids := connection.execute(wanted.limit(_BATCH)).scalars().all():
        yield ids


def _wal_of(connection: Connection) -> Path | None:
    """SQLite's `-wal` file, with the database set to overwrite what is deleted; else None."""
    if connection.dialect.name != "sqlite":
        return None
    connection.execute(text("PRAGMA secure_delete=ON"))
    file = connection.execute(text("PRAGMA database_list")).all()[0][2]
    connection.commit()
    return Path(f"{file}-wal")


def _checkpoint(connection: Connection, wal: Path | None) -> None:
    """Keep the `-wal` file small: readers and writers beside us let it grow otherwise."""
    if wal is None or not wal.exists() or wal.stat().st_size <= LARGEST_WAL // 2:
        return
    deadline = time.monotonic() + _WAIT_SECONDS
    while not _is_emptied(connection) and wal.stat().st_size > LARGEST_WAL:
        if time.monotonic() > deadline:
            raise RecordsUnavailable(
                "another program reads the log for a long time, so that its -wal file would grow;"
                " run this again when that has ended"
            )
        time.sleep(_LOOK_SECONDS)


def _is_emptied(connection: Connection) -> bool:
    """Empty the `-wal` file; False if a reader needs it. Writers wait meanwhile, not for long."""
    patience = connection.execute(text("PRAGMA busy_timeout")).scalar()
    connection.execute(text(f"PRAGMA busy_timeout={_LOCK_MS}"))
    busy = connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0]
    connection.execute(text(f"PRAGMA busy_timeout={patience}"))
    connection.commit()
    return not busy
