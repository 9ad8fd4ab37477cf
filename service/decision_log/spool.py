"""Spool: durable records on local disk while the store is unavailable.

Each process appends frames to its own locked segment, a file "….seg". Another process that gets
the lock (the owner has sealed it, or has died) moves the frames to the store and then deletes the
segment. After a crash between the two, the frames are moved again, and the store ignores them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from service.decision_log.frames import Damage, count_frames, frame, read_frames

_SEGMENT = ".seg"
_DAMAGED = ".damaged"
_REJECTED = ".rejected"
_LARGEST_SEGMENT = 32 * 1024 * 1024
_PROBE = b"\0" * 4096

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SpoolDepth:
    """Waiting records and bytes of all processes. `set_aside` counts files for a person to
    check.
    """

    records: int = 0
    bytes: int = 0
    set_aside: int = 0


class Segment:
    """A segment locked by this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._damaged = False

    def payloads(self) -> Iterator[bytes]:
        """The complete payloads, in order."""
        for item in read_frames(_read_all(self._descriptor)):
            if not isinstance(item, Damage):
                yield item
            elif not item.torn:
                self._damaged = True

    def discard(self) -> None:
        """Delete the drained segment, or set it aside if it was damaged."""
        if self._damaged:
            log.error("spool segment damaged, set aside", segment=self.path.name)
            self.path.rename(self.path.with_suffix(_DAMAGED))
        else:
            self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock; an undiscarded segment can be claimed again."""
        os.close(self._descriptor)


class Spool:
    """The spool folder, created on the first write. Safe for threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._end = 0
        self._counted: dict[str, tuple[int, int, int]] = {}

    def append(self, payload: bytes) -> None:
        """Append a payload, on disk on return.

        Raises OSError if it fails, and leaves nothing of the payload behind.
        """
        data = frame(payload)
        with self._lock:
            if self._descriptor is None or self._end > _LARGEST_SEGMENT:
                self._close()
                self._descriptor = self._new_segment()
            try:
                _write_all(self._descriptor, data)
                os.fdatasync(self._descriptor)
            except OSError:
                self._take_back()
                raise
            self._end += len(data)

    def seal(self) -> None:
        """Release this process's segment for draining."""
        with self._lock:
            self._close()

    def claim(self) -> Iterator[Segment]:
        """The unlocked segments, oldest first, each a context manager that holds its lock."""
        for path in self._files(_SEGMENT):
            descriptor = _lock_of(path)
            if descriptor is not None:
                yield Segment(path, descriptor)

    def set_aside(self, payload: bytes) -> None:
        """Write a payload rejected by the store to its own file, for a person to check."""
        path = self.folder / f"{_unique_name()}{_REJECTED}"
        log.error("a record was rejected by the store, set aside", file=path.name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, frame(payload))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._sync_folder()

    def probe(self) -> None:
        """Raise OSError if the folder cannot take a record."""
        self._make_folder()
        path = self.folder / f".probe-{_unique_name()}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(descriptor, _PROBE)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink()

    def depth(self) -> SpoolDepth:
        """The present depth; reads only the growth since the last call.

        Raises OSError if the folder cannot be read.
        """
        records = size = 0
        counted: dict[str, tuple[int, int, int]] = {}
        for path in self._files(_SEGMENT):
            with contextlib.suppress(FileNotFoundError):
                inode, count, end = self._count(path)
                counted[path.name] = (inode, count, end)
                records += count
                size += end
        self._counted = counted
        aside = len(self._files(_DAMAGED)) + len(self._files(_REJECTED))
        return SpoolDepth(records, size, aside)

    def _count(self, path: Path) -> tuple[int, int, int]:
        with path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            known_inode, count, end = self._counted.get(path.name, (inode, 0, 0))
            if known_inode != inode:
                count = end = 0
            file.seek(end)
            more, length = count_frames(file.read())
        return inode, count + more, end + length

    def _files(self, suffix: str) -> list[Path]:
        try:
            return sorted(
                path
                for path in self.folder.iterdir()
                if path.suffix == suffix and not path.name.startswith(".")
            )
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _new_segment(self) -> int:
        """A new segment, locked before it is visible under a claimable name."""
        self._make_folder()
        name = _unique_name()
        hidden = self.folder / f".{name}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(hidden, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(self.folder / f"{name}{_SEGMENT}")
            self._sync_folder()
        except OSError:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        self._end = 0
        return descriptor

    def _take_back(self) -> None:
        """Truncate the remains of a failed append; if that fails too, abandon the segment."""
        if self._descriptor is None:
            return
        try:
            os.ftruncate(self._descriptor, self._end)
            os.fdatasync(self._descriptor)
        except OSError:
            self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            # Explicit unlock: a forked process may still have the file open.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _unique_name() -> str:
    """A unique name that sorts by time."""
    return f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"


def _lock_of(path: Path) -> int | None:
    """A descriptor of the locked segment; None if another process holds or has deleted it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Deleted between opening and locking: its frames are already moved.
        if os.fstat(descriptor).st_nlink:
            return descriptor
    except BlockingIOError:
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    chunks: list[bytes] = []
    at = 0
    while at < size:
        chunk = os.pread(descriptor, size - at, at)
        if not chunk:
            break
        chunks.append(chunk)
        at += len(chunk)
    return b"".join(chunks)
