"""Chain of one process: each record is appended to its segment, and one flush serves all who wait.

The first thread that waits writes and flushes for all, in its own time: nothing is handed to a
thread that writes for others. Those who come meanwhile wait, and one of them does the next flush. A
chain never goes back: after a fault that leaves its end uncertain a new chain
begins, whose head names the last record of the one before.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from service.decision_log.chain_key import ChainKey
from service.decision_log.frames import HEAD_BYTES, START, LogRecordKind, chain_name, seal
from service.decision_log.records_folder import RecordsFolder, SegmentName
from service.decision_log.segment_file import SegmentCut, SegmentFile, SegmentGone
from service.decision_log.segment_reader import last_record, last_sequence
from service.errors import ConfigurationError

LARGEST_SEGMENT = 32 * 1024 * 1024
OLDEST_SEGMENT_SECONDS = 3600.0
_LARGEST_FLUSH = 4 * 1024 * 1024

log = structlog.get_logger(__name__)


class SegmentHead(msgspec.Struct, frozen=True):
    """First record of a segment: the installation (id of its key), the worker, and the chain before
    with its last sequence number and hash, for the first segment of a chain.
    """

    installation: str
    worker: str
    number: int
    chain_before: str = ""
    sequence_before: int = -1
    hash_before: bytes = b""


encode_head = msgspec.msgpack.Encoder().encode
decode_head = msgspec.msgpack.Decoder(SegmentHead).decode


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """The last record that is on disk; `sequence` -1 without any."""

    chain: int
    sequence: int
    hash: bytes
    at: int


class _Record:
    """A record on its way. Its thread waits for `told`, which another thread releases when the
    record is `done`, with its `error` if it failed, or when it is this thread's turn to flush.
    """

    __slots__ = ("done", "error", "kind", "payload", "told")

    def __init__(self, kind: int, payload: bytes) -> None:
        self.kind = kind
        self.payload = payload
        self.done = False
        self.error: OSError | None = None
        self.told = threading.Lock()
        self.told.acquire()


class ChainWriter:
    """Appends to the segments of this process. `clock` gives microseconds since 1970 UTC."""

    def __init__(
        self,
        folder: RecordsFolder,
        key: Callable[[], ChainKey],
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
        drained: Callable[[str], int] = lambda _: -1,
    ) -> None:
        self._folder = folder
        self._make_key = key
        self._clock = clock
        self._drained = drained
        self._pending: deque[_Record] = deque()
        self._stranded: list[SegmentFile] = []
        self._turns = threading.Lock()
        self._busy = False
        self._flushing = threading.Lock()
        self._segment: SegmentFile | None = None
        self._number = 0
        self._last: ChainEnd | None = None
        self._key = ChainKey(b"")
        self._chain_is_usable = False
        self.lost = 0
        """Records that were answered and are gone: told by /readyz until the next start."""

    @property
    def end(self) -> ChainEnd | None:
        """The last record on disk; None before the first."""
        return self._last

    def append(self, kind: LogRecordKind, payload: bytes) -> None:
        """Append a record, on disk on return. Raises OSError if it is not."""
        record = _Record(kind, payload)
        with self._turns:
            self._pending.append(record)
            leads = not self._busy
            self._busy = True
        if not leads:
            record.told.acquire()
        while not record.done:
            self._lead()
        if record.error is not None:
            # A copy: each waiting thread raises its own.
            raise OSError(*record.error.args) from record.error

    def check(self) -> None:
        """Notice what has happened to the segment while nothing was appended.

        Raises OSError if what it holds cannot be made safe.
        """
        with self._flushing:
            self._rescue_stranded()
            if self._segment is not None:
                self._checked(self._segment)

    def close(self) -> None:
        """End the segment; a later record begins a new one."""
        with self._flushing:
            if self._segment is not None:
                self._segment.close()
                self._segment = None

    def _lead(self) -> None:
        """Write and flush what waits, up to a size; pass the turn on, and tell those who wait."""
        some: list[_Record] = []
        size = 0
        with self._turns:
            while self._pending and (not some or size < _LARGEST_FLUSH):
                some.append(self._pending.popleft())
                size += len(some[-1].payload)
        error: OSError | None = None
        try:
            with self._flushing:
                self._write(some)
        except OSError as failure:
            error = failure
        except ConfigurationError as failure:
            error = OSError(0, str(failure))  # the key cannot be had, or the folder not be trusted
        except Exception as failure:
            # Each thread that waits for this flush must get a result.
            error = OSError(0, type(failure).__name__)
            log.error("a record cannot be appended", reason=type(failure).__name__)
        finally:
            with self._turns:
                if self._pending:
                    self._pending[0].told.release()
                else:
                    self._busy = False
            for record in some:
                record.error, record.done = error, True
                record.told.release()

    def _write(self, records: list[_Record]) -> None:
        self._rescue_stranded()
        segment = self._open_segment()
        try:
            self._append(segment, records)
        except SegmentCut:
            self._abandon(segment)
            self._append(self._open_segment(), records)

    def _append(self, segment: SegmentFile, records: list[_Record]) -> None:
        last = self._last
        if last is None:
            raise OSError(0, "no chain")
        key = self._key.secret
        at = self._clock()
        sequence, before = last.sequence, last.hash
        parts: list[bytes] = []
        for record in records:
            sequence += 1
            head, before = seal(record.payload, record.kind, last.chain, sequence, at, before, key)
            parts += (head, record.payload)
        data = b"".join(parts)
        try:
            segment.append(data)
        except SegmentGone as error:
            self._rescue(segment, str(error), len(data))
        except OSError:
            if not segment.take_back(HEAD_BYTES + len(records[0].payload)):
                self._leave(segment)
            raise
        self._last = ChainEnd(last.chain, sequence, before, at)

    def _open_segment(self) -> SegmentFile:
        segment = self._segment
        if segment is not None:
            too_large = segment.end > LARGEST_SEGMENT
            if not too_large and time.monotonic() - segment.began < OLDEST_SEGMENT_SECONDS:
                return segment
            self._checked(segment)
            if self._segment is not None:
                self._segment.close()
                self._segment = None
        self._segment = self._new_segment()
        return self._segment

    def _new_segment(self) -> SegmentFile:
        self._folder.make()
        self._key = self._make_key()
        before = self._last or self._newest_of_all()
        if self._last is not None and before is not None and self._chain_is_usable:
            chain, number, sequence, hash_before = (
                before.chain,
                self._number + 1,
                before.sequence + 1,
                before.hash,
            )
            head = SegmentHead(self._key.id, _worker(), number)
        else:
            chain, number, sequence, hash_before = secrets.randbits(63), 0, 0, START
            head = SegmentHead(
                self._key.id,
                _worker(),
                number,
                chain_name(before.chain) if before else "",
                before.sequence if before else -1,
                before.hash if before else b"",
            )
        payload = encode_head(head)
        at = self._clock()
        begin, own = seal(
            payload, LogRecordKind.HEAD, chain, sequence, at, hash_before, self._key.secret
        )
        segment = SegmentFile(self._folder, SegmentName.new(chain, number), begin + payload)
        self._number, self._chain_is_usable = number, True
        self._last = ChainEnd(chain, sequence, own, at)
        return segment

    def _newest_of_all(self) -> ChainEnd | None:
        """The end of the newest segment in the folder, of whatever process."""
        for name in reversed(self._folder.segments()):
            found = last_record(self._folder, name)
            if found is not None:
                return ChainEnd(name.chain, *found, 0)
        return None

    def _checked(self, segment: SegmentFile) -> None:
        try:
            segment.check()
        except SegmentGone as error:
            self._rescue(segment, str(error))
        except SegmentCut:
            self._abandon(segment)

    def _rescue(self, segment: SegmentFile, why: str, appended: int = 0) -> None:
        """Bring what a deleted, moved or replaced segment holds into a new file, with the bytes
        that were just appended.
        """
        was = str(segment.name)
        segment.end += appended
        try:
            self._make_key()  # with the folder, the key's file may be gone
            segment.rescue()
        except OSError as error:
            # What was answered is still at hand, and is tried again before the next record.
            segment.end -= appended
            self._segment, self._chain_is_usable = None, False
            self._stranded.append(segment)
            log.error(
                "a segment is gone and cannot be written anew",
                segment=was,
                what=why,
                reason=error.strerror,
            )
            raise
        except SegmentCut:
            segment.end -= appended
            self._abandon(segment)
            raise OSError(0, "the segment was truncated") from None
        log.error(
            "a segment was gone, and is written anew", segment=was, what=why, now=str(segment.name)
        )

    def _rescue_stranded(self) -> None:
        while self._stranded:
            segment = self._stranded[-1]
            try:
                self._make_key()
                segment.rescue()
            except SegmentCut:
                self._abandon(segment)
            else:
                log.info("a segment is written anew", now=str(segment.name))
                segment.close()
            self._stranded.pop()

    def _abandon(self, segment: SegmentFile) -> None:
        """Give up a segment that was cut, and say what of it is not safe."""
        lost = self._lost_of(segment)
        self.lost += lost
        log.error(
            "a segment was truncated or written to by another",
            segment=str(segment.name),
            records_lost=lost,
        )
        self._leave(segment)

    def _lost_of(self, segment: SegmentFile) -> int:
        """The records of a cut segment that are neither in what is left nor in the rows."""
        if self._last is None:
            return 0
        left = last_sequence(self._folder, segment.name)
        return max(0, self._last.sequence - max(left, self._drained(str(segment.name))))

    def _leave(self, segment: SegmentFile) -> None:
        segment.close()
        if segment is self._segment:
            self._segment, self._chain_is_usable = None, False


def _worker() -> str:
    return f"{socket.gethostname()} {os.getpid()}"
