"""Framing of payloads in a file, with detection of torn and damaged frames.

A frame is the magic number "CCR1", the payload's length and its CRC-32 (both big-endian, 4 bytes),
and the payload. After damage, reading continues at the next magic number.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MARK = b"CCR1"
_HEADER = struct.Struct(">4sII")


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes outside a valid frame, from `start` to `end`. `torn`: the file ends within a frame."""

    start: int
    end: int
    torn: bool


def frame(payload: bytes) -> bytes:
    """The payload in its frame."""
    return _HEADER.pack(MARK, len(payload), zlib.crc32(payload)) + payload


def read_frames(data: bytes | memoryview, start: int = 0) -> Iterator[bytes | Damage]:
    """The payloads in `data` from `start` on, in order, and the damage between them.

    A frame cut short by the death of its process comes last, as torn Damage.
    """
    whole = bytes(data)
    at = start
    while at < len(whole):
        payload = _payload(whole, at)
        if payload is not None:
            yield payload
            at += _HEADER.size + len(payload)
            continue
        following = _next_whole_frame(whole, at + 1)
        if following is None:
            yield Damage(at, len(whole), torn=_could_be_cut_short(whole, at))
            return
        yield Damage(at, following, torn=False)
        at = following


def count_frames(data: bytes) -> tuple[int, int]:
    """The number of frames in `data`, by their headers alone, and their size in bytes."""
    count = at = 0
    while at + _HEADER.size <= len(data):
        mark, length, _ = _HEADER.unpack_from(data, at)
        if mark != MARK or at + _HEADER.size + length > len(data):
            break
        count += 1
        at += _HEADER.size + length
    return count, at


def _payload(data: bytes, at: int) -> bytes | None:
    if at + _HEADER.size > len(data):
        return None
    mark, length, checksum = _HEADER.unpack_from(data, at)
    payload = data[at + _HEADER.size : at + _HEADER.size + length]
    if mark != MARK or len(payload) != length or zlib.crc32(payload) != checksum:
        return None
    return payload


def _next_whole_frame(data: bytes, at: int) -> int | None:
    while (at := data.find(MARK, at)) >= 0:
        if _payload(data, at) is not None:
            return at
        at += 1
    return None


def _could_be_cut_short(data: bytes, at: int) -> bool:
    """Whether the rest is the beginning of one frame, as left by a dying process."""
    left = data[at:]
    if len(left) < _HEADER.size:
        return MARK.startswith(left[: len(MARK)])
    mark, length, _ = _HEADER.unpack_from(left)
    return bool(mark == MARK and len(left) <= _HEADER.size + length)
