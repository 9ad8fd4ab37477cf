"""Folder of the records: segments, the lock of the drainer, and how far it has come.

Names of segments sort by time and tell chain and number. Files are their owner's alone, are created
anew, and are never opened through a link.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from service.decision_log.chain_key import KEY_FILE
from service.errors import ConfigurationError
from service.os_errors import with_repair
from service.private_files import check_private, make_private_folder, sync_folder

SEGMENT = ".segment"
DAMAGED = ".damaged"
REJECTED = ".rejected"
_STATE = "drained.json"
_DRAIN_LOCK = "drain.lock"
_OWN = (KEY_FILE, _STATE, _DRAIN_LOCK)
_NAME = re.compile(r"(\d{20})-([0-9a-f]{16})-(\d{6})\.segment")
_PROBE = b"\0" * 4096


@dataclass(frozen=True, slots=True, order=True)
class SegmentName:
    """Name of a segment: when it began (nanoseconds since 1970), its chain, its number there."""

    began: int
    chain: int
    number: int

    @classmethod
    def new(cls, chain: int, number: int) -> SegmentName:
        return cls(time.time_ns(), chain, number)

    @classmethod
    def read(cls, name: str) -> SegmentName | None:
        """The name's parts; None for another file."""
        match = _NAME.fullmatch(name)
        return cls(int(match[1]), int(match[2], 16), int(match[3])) if match else None

    def __str__(self) -> str:
        return f"{self.began:020d}-{self.chain:016x}-{self.number:06d}.segment"


class DrainState(msgspec.Struct, frozen=True):
    """Progress of the drainer, for the other processes of the folder.

    `segments`: name → bytes that are in the rows, and the sequence number of the last of them.
    `trouble`: why nothing moves; `lost`: records that were gone before they were in the rows.
    """

    segments: dict[str, tuple[int, int]] = {}
    trouble: str | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Records that are not in the rows yet: bytes, and the age of the oldest in seconds.

    `set_aside` counts files that a person must look at.
    """

    bytes: int = 0
    seconds: float = 0.0
    set_aside: int = 0


_encode_state = msgspec.json.Encoder().encode
_decode_state = msgspec.json.Decoder(DrainState).decode


class RecordsFolder:
    """The folder at `path`, created on the first write. Safe for threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Create the folder, or check that it is this service's alone.

        Raises ConfigurationError for a link and for another user's folder, OSError.
        """
        make_private_folder(self.path)

    def check_files(self) -> None:
        """Close each file of the records to others.

        Raises ConfigurationError for a link, and for a file that this user may not read.
        """
        for name in self._names():
            if name not in _OWN and not name.endswith((SEGMENT, DAMAGED, REJECTED)):
                continue  # as the `lost+found` of a disk
            try:
                check_private(self.path / name)
            except PermissionError as error:
                raise ConfigurationError(with_repair(error, self.path / name)) from None

    def segments(self) -> list[SegmentName]:
        """All segments, oldest first. Raises OSError if the folder cannot be read."""
        found = (SegmentName.read(name) for name in self._names())
        return sorted(name for name in found if name is not None)

    def file(self, name: SegmentName) -> Path:
        return self.path / str(name)

    def create(self, name: str, begin: bytes) -> int:
        """A new locked file that begins with these bytes, on disk on return; its descriptor.

        The lock is taken before the file is visible under its name.
        """
        self.make()
        hidden = self.path / f".{name}-{secrets.token_hex(4)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(hidden, flags, 0o600)
        try:
            self._own(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_all(descriptor, begin)
            os.fdatasync(descriptor)
            hidden.rename(self.path / name)
            sync_folder(self.path)
        except OSError:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        return descriptor

    def open_to_read(self, name: SegmentName) -> int | None:
        """A descriptor of the segment; None if it is gone."""
        try:
            return os.open(self.file(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None

    def probe(self) -> None:
        """Raise OSError if the folder cannot take a record."""
        self.make()
        path = self.path / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, _PROBE)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
            path.unlink()

    def lock_for_draining(self) -> int | None:
        """A descriptor that holds the drainer's lock; None while another process holds it."""
        self.make()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path / _DRAIN_LOCK, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        self._own(descriptor)
        return descriptor

    def holds(self, descriptor: int) -> bool:
        """Whether this descriptor's lock file is still the folder's."""
        with contextlib.suppress(OSError):
            there = (self.path / _DRAIN_LOCK).stat(follow_symlinks=False)
            own = os.fstat(descriptor)
            return (there.st_ino, there.st_dev) == (own.st_ino, own.st_dev)
        return False

    def state(self) -> DrainState:
        """The progress that the drainer has told; empty without any."""
        try:
            return _decode_state((self.path / _STATE).read_bytes())
        except (OSError, msgspec.DecodeError):
            return DrainState()

    def tell(self, state: DrainState) -> None:
        """Replace the drainer's state. It is a hint, not evidence: it need not survive a crash."""
        fresh = self.path / f".{_STATE}-{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(fresh, flags, 0o600)
        try:
            self._own(descriptor)
            write_all(descriptor, _encode_state(state))
        finally:
            os.close(descriptor)
        fresh.rename(self.path / _STATE)

    def set_aside(self, name: str, data: bytes) -> None:
        """Write what cannot be moved to a file of its own, for a person to look at."""
        with contextlib.suppress(FileExistsError):
            if not (self.path / name).exists():
                os.close(self.create(name, data))

    def set_aside_count(self) -> int:
        return sum(name.endswith((DAMAGED, REJECTED)) for name in self._names())

    def sizes(self) -> Iterator[tuple[SegmentName, int]]:
        """Each segment with its size in bytes."""
        for name in self.segments():
            with contextlib.suppress(FileNotFoundError):
                yield name, self.file(name).stat().st_size

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.path) as found:
                return [entry.name for entry in found if not entry.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _own(self, descriptor: int) -> None:
        """Give a file that root creates to the folder's owner, who must be able to drain it."""
        if os.geteuid() == 0:
            owner = self.path.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def is_locked(descriptor: int) -> bool:
    """Whether another process, or another descriptor of this one, has the file locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the data, in as many steps as the system takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
