"""Segments of the spool of versions before 0.2: taken over into the chain at the start.

A frame there is the magic number "CCR1", the payload's length and its CRC-32 (both big-endian,
4 bytes), and the payload: the rows of one entry.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import structlog

from service.decision_log.rows import LogEntry, decode_entry

_SUFFIX = ".seg"
_MARK = b"CCR1"
_HEADER = struct.Struct(">4sII")

log = structlog.get_logger(__name__)


def take_over(folder: Path, keep: Callable[[LogEntry], None]) -> int:
    """Hand each entry that waits in a former spool's folder to `keep`; returns their number.

    A file is removed when all of it is kept, or renamed to "….damaged" if not all could be read.
    One that another process has locked is left to it. Repeated after a crash, an entry is kept
    again, and its rows once. Raises OSError, and whatever `keep` raises.
    """
    kept = 0
    for path in _files(folder):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            whole = True
            for payload in _payloads(file.read()):
                entry = _decoded(payload)
                if entry is None:
                    whole = False
                else:
                    keep(entry)
                    kept += 1
            if whole:
                path.unlink()
            else:
                path.rename(path.with_suffix(".damaged"))
    if kept:
        log.info("records of the former spool are taken over", records=kept)
    return kept


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.suffix == _SUFFIX and p.name[0] != ".")
    except (FileNotFoundError, NotADirectoryError):
        return []


def _decoded(payload: bytes | None) -> LogEntry | None:
    try:
        return None if payload is None else decode_entry(payload)
    except (msgspec.DecodeError, KeyError, TypeError):
        return None


def _payloads(data: bytes) -> Iterator[bytes | None]:
    """The payloads in order; None for bytes that are none. A torn end is left out."""
    at = 0
    while at < len(data):
        payload = _payload(data, at)
        if payload is not None:
            yield payload
            at += _HEADER.size + len(payload)
            continue
        following = _next(data, at + 1)
        if following is None:
            if not _is_torn(data, at):
                yield None
            return
        yield None
        at = following


def _payload(data: bytes, at: int) -> bytes | None:
    if at + _HEADER.size > len(data):
        return None
    mark, length, checksum = _HEADER.unpack_from(data, at)
    payload = data[at + _HEADER.size : at + _HEADER.size + length]
    whole = mark == _MARK and len(payload) == length and zlib.crc32(payload) == checksum
    return payload if whole else None


def _next(data: bytes, at: int) -> int | None:
    while (at := data.find(_MARK, at)) >= 0:
        if _payload(data, at) is not None:
            return at
        at += 1
    return None


def _is_torn(data: bytes, at: int) -> bool:
    """Whether the rest is the beginning of one frame, as left by a dying process."""
    left = data[at:]
    if len(left) < _HEADER.size:
        return _MARK.startswith(left[: len(_MARK)])
    mark, length, _ = _HEADER.unpack_from(left)
    return bool(mark == _MARK and len(left) <= _HEADER.size + length)
