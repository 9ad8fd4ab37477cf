"""Reading of the segments of one chain, in order, from wherever the rows have come.

Memory is bounded by what is asked for: a piece of a file at a time, and at least one whole frame.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import structlog

from service.decision_log.frames import (
    HEAD_BYTES,
    DamagedFrame,
    Frame,
    chain_name,
    frame_length,
    glance,
    next_frame,
    read_frame,
)
from service.decision_log.records_folder import RecordsFolder, SegmentName, is_locked

_PIECE = 1024 * 1024

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a chain: the record before it, and the segment and offset of what follows.

    `sequence` is -1 before the first record; `hash` is empty where it is not known. `name` is None
    before the first segment.
    """

    sequence: int = -1
    hash: bytes = b""
    name: SegmentName | None = None
    offset: int = 0


class SegmentPiece:
    """A part of a segment in memory, read further on demand."""

    def __init__(self, descriptor: int, start: int) -> None:
        self._descriptor = descriptor
        self._start = start
        self._data = b""

    def frame(self, offset: int, chain: int, key: bytes | None) -> Frame | None:
        """The frame at an offset; None if it is cut short by the end of the file."""
        at = self._reach(offset)
        return None if at is None else read_frame(self._data, at, chain, key)

    def glance(self, offset: int) -> tuple[int, int, int] | None:
        """Sequence number, time and length of the frame at an offset, unverified; None if it is
        cut short.
        """
        at = self._reach(offset)
        if at is None:
            return None
        length = frame_length(self._data, at)
        return None if length is None else (*glance(self._data, at), length)

    def next_frame(self, offset: int, chain: int, key: bytes | None) -> int | None:
        """The offset of the next whole and authentic frame, or None."""
        self._fill(offset, os.fstat(self._descriptor).st_size - offset)
        found = next_frame(self._data, 0, chain, key)
        return None if found is None else self._start + found

    def _reach(self, offset: int) -> int | None:
        """The place in memory of a whole frame at an offset; None if the file ends before."""
        at = offset - self._start
        if at < 0 or not self._has_whole(at):
            self._fill(offset, _PIECE)
            at = 0
            length = frame_length(self._data, 0)
            if length is None:
                return None
            if length > len(self._data):
                self._fill(offset, length)
            if length > len(self._data):
                return None
        return at

    def _has_whole(self, at: int) -> bool:
        length = frame_length(self._data, at)
        return length is not None and at + length <= len(self._data)

    def _fill(self, offset: int, most: int) -> None:
        parts: list[bytes] = []
        while most > 0:
            part = os.pread(self._descriptor, most, offset + sum(map(len, parts)))
            if not part:
                break
            parts.append(part)
            most -= len(part)
        self._start, self._data = offset, b"".join(parts)


class ChainReader:
    """The records of one chain, from `place` on. `read` goes on, `back` returns to a place.

    `damaged` are segments with bytes that are no authentic frame; `lost` counts records that are
    missing between those before and after them.
    """

    def __init__(self, folder: RecordsFolder, chain: int, key: bytes | None) -> None:
        self._folder = folder
        self._chain = chain
        self._key = key
        self.place = Place()
        self.damaged: set[SegmentName] = set()
        self.lost = 0

    def go_after(self, sequence: int, own: bytes, names: Sequence[SegmentName]) -> None:
        """Continue after the record with this sequence number and hash, without reading the
        segments that end before it.
        """
        self.place = Place(sequence, own)
        for name in reversed(names):
            first = first_sequence(self._folder, name)
            if first is not None and first <= sequence + 1:
                self.place = Place(sequence, own, name)
                return

    def read(
        self, names: Sequence[SegmentName], most_records: int, most_bytes: int
    ) -> Iterator[Frame]:
        """The next records, up to a number and about a size; `place` is after the last one.

        `names` are the chain's segments, as the folder has them now, in order.
        """
        records = size = 0
        remaining = [
            n for n in names if self.place.name is None or _order(n) >= _order(self.place.name)
        ]
        for position, name in enumerate(remaining):
            is_last = position == len(remaining) - 1
            descriptor = self._folder.open_to_read(name)
            if descriptor is None:
                continue
            try:
                if name != self.place.name:
                    self.place = replace(self.place, name=name, offset=0)
                finished = not is_last or not is_locked(descriptor)
                for frame in self._frames(descriptor, name, finished):
                    yield frame
                    records += 1
                    size += frame.size
                    if records >= most_records or size >= most_bytes:
                        return
            finally:
                os.close(descriptor)

    def _frames(self, descriptor: int, name: SegmentName, finished: bool) -> Iterator[Frame]:
        """The records of one segment from `place` on. A segment is finished when its owner writes
        no more to it: what is cut short at its end then never was answered.
        """
        size = os.fstat(descriptor).st_size
        piece = SegmentPiece(descriptor, self.place.offset)
        while self.place.offset < size:
            at = self.place.offset
            try:
                seen = piece.glance(at)
                if seen is not None and seen[0] <= self.place.sequence:
                    self.place = replace(self.place, offset=at + seen[2])
                    continue
                frame = piece.frame(at, self._chain, self._key)
            except DamagedFrame as damage:
                following = piece.next_frame(at + 1, self._chain, self._key)
                if following is None and not finished:
                    return
                self._note(name, str(damage), at)
                self.place = replace(self.place, offset=size if following is None else following)
                continue
            if frame is None:
                following = piece.next_frame(at + 1, self._chain, self._key)
                if following is not None:  # a changed length, not the end
                    self._note(name, "changed", at)
                    self.place = replace(self.place, offset=following)
                    continue
                if finished:
                    log.info("a record was cut short and never answered", segment=str(name))
                    self.place = replace(self.place, offset=size)
                return
            self._compare(frame, name)
            self.place = Place(frame.sequence, frame.hash, name, at + frame.size)
            yield frame

    def _compare(self, frame: Frame, name: SegmentName) -> None:
        """Say whether records are missing between the last one and this one."""
        missing = frame.sequence - self.place.sequence - 1
        known = bool(self.place.hash)
        if missing > 0 and (known or self.place.sequence >= 0):
            self.lost += missing
            log.error(
                "records are missing in the segments",
                chain=chain_name(self._chain),
                before=str(name),
                records_lost=missing,
            )
        elif known and not missing and frame.before != self.place.hash:
            log.error("a segment does not continue what is in the rows", segment=str(name))

    def _note(self, name: SegmentName, what: str, at: int) -> None:
        if name not in self.damaged:
            log.error(
                "a segment has bytes that are no record of it", segment=str(name), what=what, at=at
            )
        self.damaged.add(name)


def first_sequence(folder: RecordsFolder, name: SegmentName) -> int | None:
    """The sequence number of a segment's first record, unverified; None without one."""
    descriptor = folder.open_to_read(name)
    if descriptor is None:
        return None
    try:
        head = os.pread(descriptor, HEAD_BYTES, 0)
        return None if frame_length(head, 0) is None else glance(head, 0)[0]
    except DamagedFrame:
        return None
    finally:
        os.close(descriptor)


def last_record(folder: RecordsFolder, name: SegmentName) -> tuple[int, bytes] | None:
    """Sequence number and hash of the last record before a segment's end, or before its first
    damage; None without any. The authentication is not looked at.
    """
    descriptor = folder.open_to_read(name)
    if descriptor is None:
        return None
    found: tuple[int, bytes] | None = None
    offset = 0
    try:
        piece = SegmentPiece(descriptor, 0)
        while (frame := piece.frame(offset, name.chain, None)) is not None:
            found = (frame.sequence, frame.hash)
            offset += frame.size
    except DamagedFrame:
        pass
    finally:
        os.close(descriptor)
    return found


def last_sequence(folder: RecordsFolder, name: SegmentName) -> int:
    """The sequence number of a segment's last whole record; -1 without any."""
    last = last_record(folder, name)
    return -1 if last is None else last[0]


def oldest_waiting(folder: RecordsFolder, name: SegmentName, offset: int) -> int | None:
    """The time of the record at an offset of a segment, in microseconds; None without one."""
    descriptor = folder.open_to_read(name)
    if descriptor is None:
        return None
    try:
        head = os.pread(descriptor, HEAD_BYTES, offset)
        return None if frame_length(head, 0) is None else glance(head, 0)[1]
    except DamagedFrame:
        return None
    finally:
        os.close(descriptor)


def _order(name: SegmentName) -> tuple[int, int]:
    """Order within a chain; a rescued segment has the number of that which it replaces."""
    return (name.number, name.began)
