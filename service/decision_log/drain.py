"""Draining of the segments into the store, in large batches, each record once.

The rows themselves tell how far they have come: a record's place in its chain is written in the
same transaction. It is asked for again at each step, so that a database that comes back older, or
empty, is filled again from the segments that are still there.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from service.decision_log.chain_key import ChainKey
from service.decision_log.frames import Frame, LogRecordKind, chain_name
from service.decision_log.log_store import LogStore
from service.decision_log.records_folder import (
    DAMAGED,
    REJECTED,
    DrainState,
    RecordsFolder,
    SegmentName,
    is_locked,
)
from service.decision_log.rows import ChainRow, LogEntry, decode_entry, together
from service.decision_log.segment_reader import ChainReader, Place
from service.decision_log.time_limit import TimeLimit
from service.errors import EntryRejected, StoreUnavailable

BATCH_RECORDS = 512
BATCH_BYTES = 4 * 1024 * 1024
FEWEST_BYTES = 64 * 1024
BATCH_SECONDS = 10.0
SLOWEST_BYTES_PER_SECOND = 20_000
_GOAL_SECONDS = 1.0
_LOOK_AT_ALL_SECONDS = 30.0
_PING_SECONDS = 3.0
_PING_EVERY_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Chain:
    """A chain in the folder: its reader, the segments' size at the last look."""

    reader: ChainReader
    names: list[SegmentName]
    size: int = -1


class Drainer:
    """Moves what is in a folder's segments to a store. Used by one thread.

    `keep_seconds` is the time that a drained segment stays. `prepare` migrates the tables.
    """

    def __init__(
        self,
        folder: RecordsFolder,
        store: LogStore,
        key: Callable[[], ChainKey],
        keep_seconds: float,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._store = store
        self._limit = TimeLimit(store.interrupt)
        self._key = key
        self._keep_seconds = keep_seconds
        self._prepare = prepare
        self._is_prepared = False
        self._chains: dict[int, _Chain] = {}
        self._drained: dict[str, tuple[int, int]] = {}
        self._finished: set[str] = set()
        self._told: DrainState | None = None
        self._most_bytes = BATCH_BYTES
        self._look_at_all_at = 0.0
        self._ping_at = 0.0
        self._lost_before = 0

    def sweep(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Move what is there; returns the number of records.

        Raises StoreUnavailable if the store fails, ConfigurationError if its tables do not fit,
        OSError if the segments cannot be read. What was not moved is moved by a later sweep.
        """
        sizes = dict(self._folder.sizes())
        self._forget_gone(sizes)
        now = time.monotonic()
        everything = now >= self._look_at_all_at
        grown = self._grown(sizes, everything)
        try:
            if grown or now >= self._ping_at:
                self._ping()
            moved = self._move_all(grown, stopping)
        except BaseException:
            self._is_prepared = False
            for chain in grown:
                chain.size = -1
            raise
        if everything:
            self._look_at_all_at = now + _LOOK_AT_ALL_SECONDS
            self._remove_old()
        self.tell(None)
        return moved

    def _move_all(self, grown: list[_Chain], stopping: Callable[[], bool]) -> int:
        moved = 0
        for chain in grown:
            self._place_again(chain)
        left = grown
        while left and not stopping():
            before = [(chain.reader, chain.reader.place, chain.reader.lost) for chain in left]
            read_of = left
            try:
                batch, left = self._batch(left)
                if batch:
                    self._move(batch)
            except BaseException:
                for reader, place, lost in before:
                    reader.place, reader.lost = place, lost
                raise
            moved += len(batch)
            self._note_drained(read_of)
            if left:
                self.tell(None)
        return moved

    def tell(self, trouble: str | None) -> None:
        """Tell the folder's other processes how far this one has come."""
        lost = self._lost_before + sum(chain.reader.lost for chain in self._chains.values())
        state = DrainState(dict(self._drained), trouble, lost)
        if state != self._told:
            with contextlib.suppress(OSError):
                self._folder.tell(state)
                self._told = state

    def look_at_all(self) -> None:
        """Compare each chain with the rows at the next sweep, not the grown ones alone."""
        self._look_at_all_at = 0.0

    def close(self) -> None:
        self._store.close()

    def _ping(self) -> None:
        if not self._is_prepared:
            # Again after each trouble: what comes back may be another database.
            self._prepare()
            self._is_prepared = True
        with self._limit.of(_PING_SECONDS):
            self._store.ping(time.monotonic() + _PING_SECONDS)
        self._ping_at = time.monotonic() + _PING_EVERY_SECONDS

    def _grown(self, sizes: dict[SegmentName, int], everything: bool) -> list[_Chain]:
        """The chains with something new, or all."""
        named: dict[int, list[SegmentName]] = {}
        for name in sorted(sizes, key=lambda n: (n.number, n.began)):
            named.setdefault(name.chain, []).append(name)
        grown = []
        for number, names in named.items():
            chain = self._chains.get(number)
            if chain is None:
                reader = ChainReader(self._folder, number, self._key().secret)
                chain = self._chains[number] = _Chain(reader, names)
            size = sum(sizes[name] for name in names)
            if everything or size != chain.size or names != chain.names:
                chain.names, chain.size = names, size
                grown.append(chain)
        return grown

    def _place_again(self, chain: _Chain) -> None:
        """Continue where the rows end, wherever they were at the last look."""
        newest = self._newest(chain.names[0].chain)
        place = chain.reader.place
        if newest is None:
            if place.sequence >= 0:
                log.warning(
                    "the rows of a chain are gone: they are written again",
                    chain=chain_name(chain.names[0].chain),
                )
                chain.reader.place = Place()
        elif newest[0] != place.sequence:
            chain.reader.go_after(*newest, chain.names)

    def _newest(self, chain: int) -> tuple[int, bytes] | None:
        with self._limit.of(_PING_SECONDS):
            return self._store.newest(chain)

    def _batch(self, chains: list[_Chain]) -> tuple[list[tuple[int, Frame]], list[_Chain]]:
        """The next records of these chains, and the chains that may have more."""
        batch: list[tuple[int, Frame]] = []
        size = 0
        for position, chain in enumerate(chains):
            for frame in chain.reader.read(
                chain.names, BATCH_RECORDS - len(batch), self._most_bytes - size
            ):
                batch.append((chain.names[0].chain, frame))
                size += frame.size
            if len(batch) >= BATCH_RECORDS or size >= self._most_bytes:
                return batch, chains[position:]
        return batch, []

    def _move(self, batch: Sequence[tuple[int, Frame]]) -> None:
        entries = [self._entry(chain, frame) for chain, frame in batch]
        size = sum(frame.size for _, frame in batch)
        began = time.monotonic()
        try:
            self._write(together(entries), size)
        except EntryRejected:
            self._move_singly(batch, entries)
        except StoreUnavailable:
            self._most_bytes = max(FEWEST_BYTES, self._most_bytes // 4)
            raise
        self._adapt(size, time.monotonic() - began)

    def _adapt(self, size: int, seconds: float) -> None:
        """As many bytes as the link carries in about a second."""
        carried = size / max(seconds, 0.001) * _GOAL_SECONDS
        if seconds > _GOAL_SECONDS or size >= self._most_bytes:
            self._most_bytes = int(min(BATCH_BYTES, max(FEWEST_BYTES, carried)))

    def _move_singly(self, batch: Sequence[tuple[int, Frame]], entries: Sequence[LogEntry]) -> None:
        for (chain, frame), entry in zip(batch, entries, strict=True):
            try:
                self._write(entry, frame.size)
            except EntryRejected as error:
                log.error("the store rejects a record", reason=str(error))
                self._set_aside(chain, frame)
                self._write(LogEntry(records=[_chain_row(chain, frame, None)]), frame.size)

    def _write(self, entry: LogEntry, size: int) -> None:
        seconds = max(BATCH_SECONDS, size / SLOWEST_BYTES_PER_SECOND)
        with self._limit.of(seconds):
            self._store.write(entry, time.monotonic() + seconds)

    def _entry(self, chain: int, frame: Frame) -> LogEntry:
        """The rows of a record, with its place in the chain."""
        if frame.kind == LogRecordKind.HEAD:
            return LogEntry(records=[_chain_row(chain, frame, None)])
        try:
            entry = decode_entry(frame.payload)
        except (msgspec.DecodeError, KeyError, TypeError):
            self._set_aside(chain, frame)
            return LogEntry(records=[_chain_row(chain, frame, None)])
        call_id = entry.calls[0].call_id if entry.calls else None
        return msgspec.structs.replace(entry, records=[_chain_row(chain, frame, call_id)])

    def _set_aside(self, chain: int, frame: Frame) -> None:
        name = f"{chain_name(chain)}-{frame.sequence}{REJECTED}"
        log.error("a record cannot be moved, set aside", file=name)
        self._folder.set_aside(name, frame.payload)

    def _note_drained(self, chains: Sequence[_Chain]) -> None:
        for chain in chains:
            self._keep_damaged(chain)
            place = chain.reader.place
            if place.name is None:
                continue
            for name in chain.names[: chain.names.index(place.name)]:
                if str(name) not in self._finished:
                    self._drained[str(name)] = (self._size_of(name), place.sequence)
                    self._finished.add(str(name))
            self._drained[str(place.name)] = (place.offset, place.sequence)

    def _size_of(self, name: SegmentName) -> int:
        try:
            return self._folder.file(name).stat().st_size
        except OSError:
            return 0

    def _forget_gone(self, sizes: dict[SegmentName, int]) -> None:
        there = {str(name) for name in sizes}
        self._drained = {n: d for n, d in self._drained.items() if n in there}
        self._finished &= there
        for number in self._chains.keys() - {name.chain for name in sizes}:
            self._lost_before += self._chains.pop(number).reader.lost

    def _remove_old(self) -> None:
        """Remove finished segments that are in the rows and past their time."""
        now = time.time_ns()
        for chain in list(self._chains.values()):
            for name in chain.names:
                drained = self._drained.get(str(name))
                descriptor = self._folder.open_to_read(name) if drained else None
                if descriptor is None or drained is None:
                    continue
                try:
                    whole = os.fstat(descriptor).st_size <= drained[0]
                    age = (now - os.fstat(descriptor).st_mtime_ns) / 1e9
                    if not whole or age < self._keep_seconds or is_locked(descriptor):
                        continue
                finally:
                    os.close(descriptor)
                self._folder.file(name).unlink(missing_ok=True)

    def _keep_damaged(self, chain: _Chain) -> None:
        """Give a damaged segment a second name, under which it stays for a person to look at."""
        for name in chain.reader.damaged & set(chain.names):
            kept = self._folder.path / f"{name}{DAMAGED}"
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(self._folder.file(name), kept, follow_symlinks=False)


def _chain_row(chain: int, frame: Frame, call_id: str | None) -> ChainRow:
    return ChainRow(
        chain=chain,
        sequence=frame.sequence,
        kind=frame.kind,
        form=frame.form,
        recorded_at=frame.at,
        length=len(frame.payload),
        call_id=call_id,
        content_hash=frame.content,
        hash=frame.hash,
        mac=frame.mac,
        content=None if call_id is not None else frame.payload,
    )
