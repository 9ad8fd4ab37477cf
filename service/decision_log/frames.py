"""Frames of records in a segment: chained by hash, authenticated with the installation's key.

A frame is a head, the hashes and the payload. The head (big-endian): magic number "CCL1", the
payload's length (4 bytes), kind (1), form (1), two zero bytes, the sequence number in its chain (8)
and the time of recording (8, microseconds since 1970 UTC). The hashes are 32 bytes each: that of
the record before, the record's own (SHA-256 over chain, head, the hash before, and the payload's
SHA-256), and the authentication (HMAC-SHA-256 of the own hash with the key).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"CCL1"
START = bytes(32)
"""The hash before the first record of a chain."""
FORM = 1
"""Form of the payloads; a later form says which fields its hash covers."""
LARGEST_PAYLOAD = 256 * 1024 * 1024
_HEAD = struct.Struct(">4sIBBxxQq")
_HASHES = struct.Struct("32s32s32s")
_CHAIN = struct.Struct(">Q")
HEAD_BYTES = _HEAD.size + _HASHES.size


class LogRecordKind(IntEnum):
    """Kinds of records. HEAD begins a segment: installation, worker, and what came before."""

    HEAD = 1
    CALL = 2
    FEEDBACK = 3
    ACCESS = 4


class DamagedFrame(Exception):
    """Bytes that are no frame of their chain; the message says in one word what is wrong."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One record with its place in its chain. `at` is in microseconds since 1970 UTC."""

    kind: int
    form: int
    sequence: int
    at: int
    before: bytes
    content: bytes
    """The payload's SHA-256."""
    hash: bytes
    mac: bytes
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes of the frame in its segment."""
        return HEAD_BYTES + len(self.payload)


def chain_name(chain: int) -> str:
    """A chain's name in messages: 16 hexadecimal digits."""
    return f"{chain:016x}"


def record_hash(
    chain: int,
    kind: int,
    form: int,
    sequence: int,
    at: int,
    length: int,
    before: bytes,
    content: bytes,
) -> bytes:
    """The hash of a record, from its place in its chain and its payload's hash `content`."""
    head = _HEAD.pack(MAGIC, length, kind, form, sequence, at)
    return hashlib.sha256(_CHAIN.pack(chain) + head + before + content).digest()


def authentication(key: bytes, own: bytes) -> bytes:
    """The authentication of a record's own hash."""
    return hmac.digest(key, own, "sha256")


def seal(
    payload: bytes, kind: int, chain: int, sequence: int, at: int, before: bytes, key: bytes
) -> tuple[bytes, bytes]:
    """The frame's bytes without the payload that follows them, and the record's own hash."""
    content = hashlib.sha256(payload).digest()
    head = _HEAD.pack(MAGIC, len(payload), kind, FORM, sequence, at)
    own = hashlib.sha256(_CHAIN.pack(chain) + head + before + content).digest()
    return head + _HASHES.pack(before, own, authentication(key, own)), own


def frame_length(data: bytes | memoryview, at: int) -> int | None:
    """The length of the frame that begins at a place, by its head; None if the head is cut short.

    Raises DamagedFrame if no frame begins there.
    """
    if len(data) - at < HEAD_BYTES:
        return None
    magic, length, *_ = _HEAD.unpack_from(data, at)
    if magic != MAGIC or length > LARGEST_PAYLOAD:
        raise DamagedFrame("changed")
    return HEAD_BYTES + int(length)


def read_frame(data: bytes | memoryview, at: int, chain: int, key: bytes | None) -> Frame | None:
    """The frame that begins at a place of a chain's segment; None if it is cut short.

    Raises DamagedFrame: "changed" if its hash does not fit its bytes, "forged" if it does and the
    authentication does not. Without a key the authentication is left out.
    """
    length = frame_length(data, at)
    if length is None or len(data) - at < length:
        return None
    _, _, kind, form, sequence, moment = _HEAD.unpack_from(data, at)
    before, own, mac = _HASHES.unpack_from(data, at + _HEAD.size)
    payload = bytes(data[at + HEAD_BYTES : at + length])
    content = hashlib.sha256(payload).digest()
    head = bytes(data[at : at + _HEAD.size])
    if hashlib.sha256(_CHAIN.pack(chain) + head + before + content).digest() != own:
        raise DamagedFrame("changed")
    if key is not None and not hmac.compare_digest(authentication(key, own), mac):
        raise DamagedFrame("forged")
    return Frame(kind, form, sequence, moment, before, content, own, mac, payload)


def glance(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Sequence number and time of the frame whose head begins at a place, unverified."""
    _, _, _, _, sequence, moment = _HEAD.unpack_from(data, at)
    return int(sequence), int(moment)


def next_frame(data: bytes | memoryview, at: int, chain: int, key: bytes | None) -> int | None:
    """The place of the next whole and authentic frame from `at` on, or None."""
    whole = bytes(data)
    while (at := whole.find(MAGIC, at)) >= 0:
        try:
            if read_frame(whole, at, chain, key) is not None:
                return at
        except DamagedFrame:
            pass
        at += 1
    return None
