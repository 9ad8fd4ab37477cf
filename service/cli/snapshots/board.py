"""Board of the snapshot in force, common to a server process and the workers that it forks.

The server writes: the number of the snapshot in force, and the snapshot that it offers as the next
one. Workers read, and report through a pipe. Nothing of it is a file that has a name: what is in
force is no one's to change, and stays also where no disk can be written.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import struct
import tempfile
from typing import BinaryIO, Literal

import msgspec

_NUMBERS = struct.Struct("=QQQQ32s")
_IN_FORCE, _OFFERED = 0, 8
_NUMBER = struct.Struct("=Q")
_MOST_WORDS = 65_536
_LONGEST_REASON = 2_000
"""Characters: a report is written in one piece (PIPE_BUF)."""
_AT_A_TIME = 65_536


class Report(msgspec.Struct, frozen=True):
    """A worker's word on a snapshot: it can answer by it, it answers by it, or why it cannot."""

    process: int
    number: int
    state: Literal["ready", "answers", "failed"]
    why: str = ""


class ReloadOutcome(msgspec.Struct, frozen=True):
    """Outcome of a reload: `state` is "in force", "unchanged" or "refused", with the reason.

    `began` is the monotonic clock of its begin in nanoseconds, `at` its end as ISO 8601; the
    digests are those of the snapshot in force after it, `bundle_made` the moment of its bundle as
    ISO 8601; `cases` is the number of those that ran.
    """

    state: Literal["in force", "unchanged", "refused"]
    why: str
    began: int
    at: str
    policies: str
    access: str
    cases: int = 0
    bundle_made: str | None = None


class Board:
    """The board; made by the server before it forks."""

    def __init__(self) -> None:
        self._numbers = mmap.mmap(-1, mmap.PAGESIZE)
        self._words = mmap.mmap(-1, _MOST_WORDS)
        self._file = _file_without_a_name()
        self._reports, self._report = os.pipe()
        for end in (self._reports, self._report):
            os.set_blocking(end, False)
        self._half = b""

    @property
    def in_force(self) -> int:
        """The number of the snapshot in force; the first one is 0."""
        return int(_NUMBER.unpack_from(self._numbers, _IN_FORCE)[0])

    @property
    def offered(self) -> int:
        """The number of the snapshot that is offered; the one in force where none is."""
        return int(_NUMBER.unpack_from(self._numbers, _OFFERED)[0])

    def offer(self, number: int, written: bytes) -> None:
        """Offer a snapshot to all workers. Raises OSError where there is no memory for it."""
        descriptor = self._file.fileno()
        os.ftruncate(descriptor, 0)
        done = 0
        while done < len(written):
            done += os.pwrite(descriptor, written[done : done + 16 * _AT_A_TIME], done)
        digest = hashlib.sha256(written).digest()
        held = self.in_force
        _NUMBERS.pack_into(self._numbers, 0, held, held, number, len(written), digest)
        _NUMBER.pack_into(self._numbers, _OFFERED, number)

    def withdraw(self) -> None:
        """Take back what is offered: the one in force stays."""
        _NUMBER.pack_into(self._numbers, _OFFERED, self.in_force)

    def put_in_force(self, number: int) -> None:
        """From now on calls are answered by the snapshot of this number, which was offered."""
        _NUMBER.pack_into(self._numbers, _IN_FORCE, number)

    def read(self, number: int) -> bytes:
        """The snapshot of this number. Raises ValueError if another one lies there, or half one."""
        _, _, found, length, digest = _NUMBERS.unpack_from(self._numbers, 0)
        written = bytearray()
        while len(written) < length:
            part = os.pread(self._file.fileno(), length - len(written), len(written))
            if not part:
                break
            written += part
        if found != number or hashlib.sha256(written).digest() != digest:
            raise ValueError(f"the board does not hold snapshot {number}")
        return bytes(written)

    def report(self, number: int, state: Literal["ready", "answers", "failed"], why: str) -> None:
        """Tell the server about a snapshot. Raises OSError where nobody listens."""
        said = Report(os.getpid(), number, state, why[:_LONGEST_REASON])
        os.write(self._report, msgspec.json.encode(said) + b"\n")

    @property
    def reports(self) -> int:
        """The descriptor on which reports come in."""
        return self._reports

    def heard(self) -> list[Report]:
        """The reports that have come since the last time."""
        came = self._half
        while True:
            try:
                part = os.read(self._reports, _AT_A_TIME)
            except BlockingIOError:
                break
            if not part:
                break
            came += part
        *lines, self._half = came.split(b"\n")
        return [msgspec.json.decode(line, type=Report) for line in lines]

    def tell(self, outcome: ReloadOutcome) -> None:
        """Put up how the last reload came out."""
        said = msgspec.json.encode(outcome)
        if len(said) > _MOST_WORDS - _NUMBER.size:
            said = msgspec.json.encode(
                msgspec.structs.replace(outcome, why=outcome.why[:_LONGEST_REASON])
            )
        _NUMBER.pack_into(self._words, 0, 0)
        self._words[_NUMBER.size : _NUMBER.size + len(said)] = said
        _NUMBER.pack_into(self._words, 0, len(said))

    @property
    def outcome(self) -> ReloadOutcome | None:
        """Outcome of the last reload; None before the first one, and while it is written."""
        (length,) = _NUMBER.unpack_from(self._words, 0)
        said = bytes(self._words[_NUMBER.size : _NUMBER.size + length])
        try:
            return msgspec.json.decode(said, type=ReloadOutcome) if said else None
        except msgspec.DecodeError:
            return None


def _file_without_a_name() -> BinaryIO:
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            return os.fdopen(os.memfd_create("covercard-snapshot"), "w+b")
    return tempfile.TemporaryFile()
