"""Segment that one process appends to. What happens to its file is noticed at each flush."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from service.decision_log.records_folder import RecordsFolder, SegmentName


class SegmentGone(Exception):
    """The file is no longer under its name: deleted, moved or replaced. Its content is at hand."""


class SegmentCut(Exception):
    """The file has another length than was written: truncated, or written to by another."""


class SegmentFile:
    """An open segment, locked until it is closed; `end` is its length in bytes.

    `begin` is its first frame.
    """

    def __init__(self, folder: RecordsFolder, name: SegmentName, begin: bytes) -> None:
        self._folder = folder
        self.name = name
        self._descriptor = folder.create(str(name), begin)
        self._path = str(folder.file(name))
        self._identity = _identity(self._descriptor)
        self.end = len(begin)
        self.began = time.monotonic()

    def append(self, data: bytes) -> None:
        """Append, on disk on return.

        Raises SegmentGone or SegmentCut if the file is not what it was. Raises OSError if it
        cannot be written: then `take_back` tells whether it can be used again.
        """
        left = memoryview(data)
        while left:
            # Write and flush in one call: each call gives up the interpreter's lock once.
            left = left[os.pwritev(self._descriptor, [left], self.end, os.RWF_DSYNC) :]
        self.check(self.end + len(data))
        self.end += len(data)

    def check(self, length: int | None = None) -> None:
        """Raise SegmentGone or SegmentCut if the file is not what it was."""
        try:
            there = os.stat(self._path, follow_symlinks=False)  # noqa: PTH116  at each flush
        except OSError as error:
            raise SegmentGone("deleted or moved") from error
        if (there.st_ino, there.st_dev) != self._identity:
            raise SegmentGone("replaced")
        if there.st_size != (self.end if length is None else length):
            raise SegmentCut

    def take_back(self, first: int) -> bool:
        """Truncate the remains of a failed append, whose first frame has `first` bytes.

        False if the segment is to be abandoned: a whole frame may have been read meanwhile, or the
        file cannot be truncated.
        """
        try:
            untold = os.fstat(self._descriptor).st_size - self.end
            if untold < 0:
                return False
            os.ftruncate(self._descriptor, self.end)
            os.fdatasync(self._descriptor)
        except OSError:
            return False
        return untold < first

    def rescue(self) -> None:
        """Write the content to a new file under a new name, and continue there."""
        content = os.pread(self._descriptor, self.end, 0)
        while len(content) < self.end:
            more = os.pread(self._descriptor, self.end - len(content), len(content))
            if not more:
                raise SegmentCut
            content += more
        name = SegmentName.new(self.name.chain, self.name.number)
        descriptor = self._folder.create(str(name), content)
        os.close(self._descriptor)
        self._descriptor, self.name, self._path = descriptor, name, str(self._folder.file(name))
        self._identity = _identity(descriptor)

    def close(self) -> None:
        """Release the segment. The explicit unlock is for a forked process with the file open."""
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.close(self._descriptor)


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return (found.st_ino, found.st_dev)
