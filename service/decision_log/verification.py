"""Verification of the chain: the first break in segments and rows, and its kind.

A break is a record that was changed, removed, inserted or put in another order since it was
recorded. Rows of versions before the chain are counted, not verified.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Connection, select

from service.decision_log.anchors import Anchor
from service.decision_log.chain_key import ChainKey
from service.decision_log.chain_writer import decode_head
from service.decision_log.frames import (
    START,
    DamagedFrame,
    Frame,
    LogRecordKind,
    authentication,
    chain_name,
    record_hash,
)
from service.decision_log.instants import first_call_id, instant
from service.decision_log.records_folder import RecordsFolder, SegmentName
from service.decision_log.rows import (
    AccessRow,
    CallRow,
    CardRow,
    ChainRow,
    DeterminationRow,
    FeedbackRow,
    LogEntry,
    decode_entry,
    encode_entry,
)
from service.decision_log.segment_reader import SegmentPiece
from service.decision_log.tables import access, call, card, chain_record, determination, feedback

_CHUNK = 200
_WINDOW = 1000
"""Records around a break among which one that was put elsewhere is looked for."""

PRUNED = "pruned"
"""The action of the access that puts a removal on record."""
CHANGED = "changed"
REMOVED = "removed"
INSERTED = "inserted"
REORDERED = "reordered"


@dataclass(frozen=True, slots=True)
class Break:
    """A break: its kind, the place (chain and record, or segment) and what differs there."""

    kind: str
    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.place}: {self.what}"


@dataclass(slots=True)
class Verified:
    """The counts of a verification, and its first break in segments and in rows."""

    segments: int = 0
    records_in_segments: int = 0
    chains: int = 0
    records: int = 0
    calls_before_the_chain: int = 0
    pruned: int = 0
    other_keys: set[str] = field(default_factory=set)
    first_break_in_segments: Break | None = None
    first_break_in_rows: Break | None = None

    @property
    def whole(self) -> bool:
        return self.first_break_in_segments is None and self.first_break_in_rows is None


class _Pruning(msgspec.Struct):
    """The detail of a record of pruning."""

    before: str


class _Broken(Exception):
    """The first break ends the walk."""

    def __init__(self, kind: str, place: str, what: str) -> None:
        super().__init__(what)
        self.found = Break(kind, place, what)


def verify(
    connection: Connection,
    folder: RecordsFolder,
    key: ChainKey | None,
    anchors: Sequence[Anchor] = (),
) -> Verified:
    """Verify the segments in a folder, then all rows, then what was told elsewhere.

    Authentications are verified for chains of this key; those of others are told.
    """
    result = Verified()
    try:
        _verify_segments(folder, key, result)
    except _Broken as broken:
        result.first_break_in_segments = broken.found
    try:
        _RowsWalk(connection, key, result).walk(anchors)
    except _Broken as broken:
        result.first_break_in_rows = broken.found
    return result


# Segments -----------------------------------------------------------------------------------------


def _verify_segments(folder: RecordsFolder, key: ChainKey | None, result: Verified) -> None:
    names = sorted(folder.segments(), key=lambda n: (n.chain, n.number, n.began))
    last: Frame | None = None
    chain: int | None = None
    for name in names:
        if name.chain != chain:
            chain, last = name.chain, None
        frames = _frames(folder, name, key, result)
        for frame in frames:
            if last is not None and frame.sequence <= last.sequence and _is_copy(name, names):
                continue  # a rescued segment begins with what its original has
            _compare_frames(name, last, frame, frames)
            last = frame
            result.records_in_segments += 1
        result.segments += 1


def _is_copy(name: SegmentName, names: Sequence[SegmentName]) -> bool:
    return any(n.chain == name.chain and n.number == name.number and n < name for n in names)


def _frames(
    folder: RecordsFolder, name: SegmentName, key: ChainKey | None, result: Verified
) -> Iterator[Frame]:
    descriptor = folder.open_to_read(name)
    if descriptor is None:
        return
    try:
        size = os.fstat(descriptor).st_size
        piece = SegmentPiece(descriptor, 0)
        offset = 0
        secret = None
        while offset < size:
            try:
                frame = piece.frame(offset, name.chain, secret)
            except DamagedFrame as damage:
                kind = INSERTED if str(damage) == "forged" else CHANGED
                what = f"the record at byte {offset} is not what was recorded"
                raise _Broken(kind, f"segment {name}", what) from None
            if frame is None:
                if piece.next_frame(offset + 1, name.chain, secret) is not None:
                    what = f"the record at byte {offset} is not what was recorded"
                    raise _Broken(CHANGED, f"segment {name}", what)
                return  # cut short by a death, and never answered
            if offset == 0 and key is not None and frame.kind == LogRecordKind.HEAD:
                head = decode_head(frame.payload)
                if head.installation == key.id:
                    secret = key.secret
                    piece.frame(offset, name.chain, secret)
                else:
                    result.other_keys.add(head.installation)
            yield frame
            offset += frame.size
    except DamagedFrame:
        raise _Broken(INSERTED, f"segment {name}", "its head is forged") from None
    finally:
        os.close(descriptor)


def _compare_frames(
    name: SegmentName, last: Frame | None, frame: Frame, following: Iterator[Frame]
) -> None:
    place = f"segment {name}"
    if last is None:
        return  # what was before may be in the rows alone
    if frame.sequence == last.sequence + 1 and frame.before == last.hash:
        return
    if frame.sequence <= last.sequence:
        raise _Broken(REORDERED, place, f"record {frame.sequence} stands after {last.sequence}")
    if frame.sequence > last.sequence + 1:
        if any(f.sequence == last.sequence + 1 for f in following):
            what = f"record {frame.sequence} stands before {last.sequence + 1}"
            raise _Broken(REORDERED, place, what)
        missing = f"{last.sequence + 1} to {frame.sequence - 1}"
        raise _Broken(REMOVED, place, f"records {missing} are missing")
    raise _Broken(CHANGED, place, f"record {frame.sequence} does not continue the one before")


# Rows ---------------------------------------------------------------------------------------------


class _RowsWalk:
    """A walk over all rows."""

    def __init__(self, connection: Connection, key: ChainKey | None, result: Verified) -> None:
        self._connection = connection
        self._key = key
        self._result = result
        self._pruned_before = ""
        self._ends: dict[int, tuple[int, bytes]] = {}

    def walk(self, anchors: Sequence[Anchor]) -> None:
        self._pruned_before = self._pruning()
        befores: list[tuple[int, str, int, bytes]] = []
        for chain in self._chains():
            befores.extend(self._walk_chain(chain))
            self._result.chains += 1
        for chain, name, sequence, own in befores:
            self._compare_before(chain, name, sequence, own)
        self._compare_anchors(anchors)
        self._find_inserted()

    def _chains(self) -> list[int]:
        """The chains, by the time of their first record."""
        found = self._connection.execute(
            select(chain_record.c.chain, chain_record.c.recorded_at)
            .where(chain_record.c.kind == LogRecordKind.HEAD)
            .order_by(chain_record.c.recorded_at)
        )
        known = dict.fromkeys(row.chain for row in found)
        every = self._connection.execute(select(chain_record.c.chain).distinct())
        return list(known | dict.fromkeys(row.chain for row in every))

    def _pruning(self) -> str:
        """The call id below which calls were pruned, by the records of it; "" without any."""
        found = self._connection.execute(
            select(chain_record.c.content).where(chain_record.c.kind == LogRecordKind.ACCESS)
        )
        bounds = (_pruned_before(row.content) for row in found)
        return max(bounds, default="")

    def _walk_chain(self, chain: int) -> Iterator[tuple[int, str, int, bytes]]:
        before, expected, authentic = START, 0, False
        for rows in self._records(chain):
            for position, row in enumerate(rows):
                place = f"chain {chain_name(chain)}, record {expected}"
                if row.sequence != expected:
                    raise _Broken(REMOVED, place, "it is missing in the rows")
                if _hash_of(row, before) != row.hash:
                    raise self._misplaced(chain, rows, position, before)
                if row.kind == LogRecordKind.HEAD:
                    authentic = self._is_ours(row, place)
                    head = decode_head(row.content or b"")
                    if head.chain_before:
                        yield chain, head.chain_before, head.sequence_before, head.hash_before
                if authentic and self._key is not None:
                    mac = authentication(self._key.secret, row.hash)
                    if not hmac.compare_digest(mac, row.mac):
                        raise _Broken(INSERTED, place, "it is not authentic")
                before, expected = row.hash, expected + 1
            self._compare_content(chain, rows)
            self._result.records += len(rows)
        self._ends[chain] = (expected - 1, before)

    def _is_ours(self, row: ChainRow, place: str) -> bool:
        if row.content is None:
            raise _Broken(CHANGED, place, "the head of a segment has no content")
        try:
            installation = decode_head(row.content).installation
        except msgspec.DecodeError:
            raise _Broken(CHANGED, place, "the head of a segment cannot be read") from None
        if self._key is not None and installation == self._key.id:
            return True
        self._result.other_keys.add(installation)
        return False

    def _records(self, chain: int) -> Iterator[list[ChainRow]]:
        last = -1
        c = chain_record.c
        while True:
            found = self._connection.execute(
                select(chain_record)
                .where(c.chain == chain, c.sequence > last)
                .order_by(c.sequence)
                .limit(_CHUNK)
            )
            rows = [_chain_row(row) for row in found]
            if not rows:
                return
            yield rows
            last = rows[-1].sequence

    def _misplaced(
        self, chain: int, rows: Sequence[ChainRow], position: int, before: bytes
    ) -> _Broken:
        """The break at a record that does not continue the one before: another may belong there."""
        row = rows[position]
        place = f"chain {chain_name(chain)}, record {row.sequence}"
        others = self._connection.execute(
            select(chain_record)
            .where(
                chain_record.c.chain == chain,
                chain_record.c.sequence.between(row.sequence, row.sequence + _WINDOW),
            )
            .order_by(chain_record.c.sequence)
        )
        for other in map(_chain_row, others):
            fitting = msgspec.structs.replace(other, sequence=row.sequence)
            if other.sequence != row.sequence and _hash_of(fitting, before) == other.hash:
                return _Broken(REORDERED, place, f"it stands at {other.sequence}")
        following = self._connection.execute(
            select(chain_record).where(
                chain_record.c.chain == chain, chain_record.c.sequence == row.sequence + 1
            )
        ).first()
        if following is not None:
            earlier = msgspec.structs.replace(_chain_row(following), sequence=row.sequence)
            if _hash_of(earlier, before) == earlier.hash:
                return _Broken(INSERTED, place, "the next one continues the one before")
        return _Broken(CHANGED, place, "it does not continue the one before")

    def _compare_content(self, chain: int, rows: Sequence[ChainRow]) -> None:
        """Compare what records keep with the rows that were made of it."""
        ids = [row.call_id for row in rows if row.call_id is not None]
        entries = self._calls(ids) if ids else {}
        for row in rows:
            place = f"chain {chain_name(chain)}, record {row.sequence}"
            if row.call_id is None:
                self._compare_kept(row, place)
            elif row.call_id in entries:
                kept = encode_entry(entries[row.call_id])
                if _digest(kept) != row.content_hash:
                    raise _Broken(CHANGED, place, f"the rows of call {row.call_id} differ")
            elif row.call_id < self._pruned_before:
                self._result.pruned += 1
            else:
                raise _Broken(REMOVED, place, f"call {row.call_id} is missing in the rows")

    def _compare_kept(self, row: ChainRow, place: str) -> None:
        if row.content is None and row.kind != LogRecordKind.HEAD:
            recorded = first_call_id(instant(row.recorded_at))
            if recorded < self._pruned_before:
                self._result.pruned += 1
                return
        if row.content is None or _digest(row.content) != row.content_hash:
            raise _Broken(CHANGED, place, "its content differs")
        if row.kind not in (LogRecordKind.FEEDBACK, LogRecordKind.ACCESS):
            return
        try:
            entry = decode_entry(row.content)
        except (msgspec.DecodeError, KeyError, TypeError):
            return  # set aside when it was drained
        for said in entry.feedback:
            row_of = select(feedback).where(feedback.c.feedback_id == said.feedback_id)
            found = self._connection.execute(row_of).first()
            now = None if found is None else FeedbackRow(*found)
            # A repeated item is kept once, as it came first.
            first = now and msgspec.structs.replace(now, received_at=said.received_at)
            self._compare_row("feedback", said, first, place)
        for accessed in entry.accesses:
            access_of = select(access).where(access.c.access_id == accessed.access_id)
            seen = self._connection.execute(access_of).first()
            self._compare_row("access", accessed, None if seen is None else AccessRow(*seen), place)

    def _compare_row(
        self,
        what: str,
        kept: FeedbackRow | AccessRow,
        found: FeedbackRow | AccessRow | None,
        place: str,
    ) -> None:
        pruned = not isinstance(kept, AccessRow) or kept.access_id < self._pruned_before
        if found is None and self._pruned_before and pruned:
            self._result.pruned += 1
        elif found is None:
            raise _Broken(REMOVED, place, f"its {what} is missing in the rows")
        elif found != kept:
            raise _Broken(CHANGED, place, f"the rows of its {what} differ")

    def _calls(self, ids: Sequence[str]) -> Mapping[str, LogEntry]:
        """The entries of these calls, made again of their rows."""
        found: dict[str, LogEntry] = {}
        for row in self._connection.execute(select(call).where(call.c.call_id.in_(ids))):
            found[row.call_id] = LogEntry([CallRow(*row)], [], [])
        of_determinations = (
            select(determination)
            .where(determination.c.call_id.in_(ids))
            .order_by(determination.c.call_id, determination.c.position)
        )
        for row in self._connection.execute(of_determinations):
            if row.call_id in found:
                found[row.call_id].determinations.append(DeterminationRow(*row))
        for entry_card in self._cards(ids):
            if entry_card.call_id in found:
                found[entry_card.call_id].cards.append(entry_card)
        return found

    def _cards(self, ids: Sequence[str]) -> Iterable[CardRow]:
        wanted = select(card).where(card.c.call_id.in_(ids)).order_by(card.c.call_id)
        return sorted(
            (CardRow(*row) for row in self._connection.execute(wanted)),
            key=lambda c: (c.call_id, c.position),
        )

    def _compare_before(self, chain: int, name: str, sequence: int, own: bytes) -> None:
        """A chain's head names a record of the chain before: that must be there."""
        found = self._connection.execute(
            select(chain_record.c.hash).where(
                chain_record.c.chain == int(name, 16), chain_record.c.sequence == sequence
            )
        ).scalar()
        place = f"chain {name}, record {sequence}"
        if found is None:
            what = f"chain {chain_name(chain)} names it, and it is missing in the rows"
            raise _Broken(REMOVED, place, what)
        if bytes(found) != own:
            raise _Broken(CHANGED, place, f"chain {chain_name(chain)} names another hash of it")

    def _compare_anchors(self, anchors: Sequence[Anchor]) -> None:
        for anchor in anchors:
            found = self._connection.execute(
                select(chain_record.c.hash).where(
                    chain_record.c.chain == int(anchor.chain, 16),
                    chain_record.c.sequence == anchor.sequence,
                )
            ).scalar()
            place = f"chain {anchor.chain}, record {anchor.sequence}"
            if found is None:
                raise _Broken(REMOVED, place, f"an anchor of {anchor.at} names it")
            if bytes(found).hex() != anchor.hash:
                raise _Broken(CHANGED, place, f"an anchor of {anchor.at} names another hash")

    def _find_inserted(self) -> None:
        """Find calls that no record names. Those before the first chain are of former versions."""
        first = self._connection.execute(
            select(chain_record.c.call_id)
            .where(chain_record.c.call_id.is_not(None))
            .order_by(chain_record.c.call_id)
            .limit(1)
        ).scalar()
        unnamed = (
            select(call.c.call_id)
            .outerjoin(chain_record, chain_record.c.call_id == call.c.call_id)
            .where(chain_record.c.call_id.is_(None))
            .order_by(call.c.call_id)
        )
        for row in self._connection.execute(unnamed.execution_options(yield_per=1000)):
            if first is not None and row.call_id > first:
                raise _Broken(INSERTED, f"call {row.call_id}", "no record of a chain names it")
            self._result.calls_before_the_chain += 1
        for kind, table, column in (
            ("determination", determination, determination.c.call_id),
            ("card", card, card.c.call_id),
        ):
            orphan = self._connection.execute(
                select(column)
                .select_from(table.outerjoin(call, call.c.call_id == column))
                .where(call.c.call_id.is_(None))
                .limit(1)
            ).scalar()
            if orphan is not None and orphan >= self._pruned_before:
                raise _Broken(INSERTED, f"{kind} of call {orphan}", "there is no such call")


def _pruned_before(content: bytes | None) -> str:
    """The bound of a record of pruning: calls with an id below it were removed. "" of others."""
    try:
        (row,) = decode_entry(content or b"").accesses
        told = msgspec.json.decode(row.detail, type=_Pruning) if row.what == PRUNED else None
        return first_call_id(datetime.fromisoformat(told.before)) if told is not None else ""
    except (msgspec.DecodeError, ValueError, KeyError, TypeError):
        return ""


def _hash_of(row: ChainRow, before: bytes) -> bytes:
    return record_hash(
        row.chain, row.kind, row.form, row.sequence, row.recorded_at, row.length, before,
        row.content_hash,
    )  # fmt: skip


def _chain_row(row: Iterable[object]) -> ChainRow:
    read = ChainRow(*row)  # type: ignore[arg-type]
    return msgspec.structs.replace(
        read,
        content_hash=bytes(read.content_hash),
        hash=bytes(read.hash),
        mac=bytes(read.mac),
        content=None if read.content is None else bytes(read.content),
    )


def _digest(data: bytes) -> bytes:

    return hashlib.sha256(data).digest()
