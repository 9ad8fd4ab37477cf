"""Draining of the spool into the store, exactly once, across crashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
import structlog

from service.decision_log.group_commit import StoreWriter
from service.decision_log.rows import LogEntry, decode_entry, together
from service.decision_log.spool import Segment, Spool
from service.errors import EntryRejected

BATCH = 64
BATCH_SECONDS = 10.0

log = structlog.get_logger(__name__)


def drain(spool: Spool, writer: StoreWriter) -> int:
    """Move the spool's unlocked records to the store; returns their number.

    Raises StoreUnavailable if the store fails, OSError if the spool cannot be read: records are
    then still in the spool. A record moved but not deleted is moved again, and the store ignores
    it.
    """
    spool.seal()
    moved = 0
    for segment in spool.claim():
        with segment:
            moved += _drain_segment(segment, spool, writer)
    if moved:
        log.info("spooled records moved to the store", records=moved)
    return moved


def _drain_segment(segment: Segment, spool: Spool, writer: StoreWriter) -> int:
    moved = 0
    payloads = segment.payloads()
    while batch := list(islice(payloads, BATCH)):
        _move(batch, spool, writer)
        moved += len(batch)
    segment.discard()
    return moved


def _move(batch: Sequence[bytes], spool: Spool, writer: StoreWriter) -> None:
    readable = list(_readable(batch, spool))
    if not readable:
        return
    try:
        writer.write(together(entry for _, entry in readable), within=BATCH_SECONDS)
    except EntryRejected:
        for payload, entry in readable:
            try:
                writer.write(entry, within=BATCH_SECONDS)
            except EntryRejected:
                spool.set_aside(payload)


def _readable(batch: Sequence[bytes], spool: Spool) -> Iterator[tuple[bytes, LogEntry]]:
    for payload in batch:
        try:
            yield payload, decode_entry(payload)
        except msgspec.DecodeError:
            spool.set_aside(payload)
