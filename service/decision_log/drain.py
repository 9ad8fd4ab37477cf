"""From the spool to the store: exactly once, whatever dies on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec
import structlog

from service.decision_log.group_commit import StoreWriter
from service.decision_log.log_store import EntryRejected
from service.decision_log.rows import Entry, decode_entry, together
from service.decision_log.spool import Segment, Spool

BATCH = 64
BATCH_SECONDS = 10.0

log = structlog.get_logger(__name__)


def drain(spool: Spool, writer: StoreWriter) -> int:
    """Move what waits in the spool and is held by no other process; how many records it was.

    Raises StoreUnavailable where the store cannot take it, OSError where the spool cannot be read:
    then all that is not yet in the store is still in the spool. A record that was moved and not yet
    deleted is moved again the next time, and the store ignores it.
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


def _readable(batch: Sequence[bytes], spool: Spool) -> Iterator[tuple[bytes, Entry]]:
    for payload in batch:
        try:
            yield payload, decode_entry(payload)
        except msgspec.DecodeError:
            spool.set_aside(payload)
