"""Instants of the log: microseconds since 1970 UTC, and ids that sort by time."""

from __future__ import annotations

import os
import struct
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """An instant with a time zone as whole microseconds since 1970 UTC."""
    return (at - _EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """The UTC instant of a number of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


def new_call_id(at: datetime) -> str:
    """UUID version 7 for a call: 32 hexadecimal digits that sort by `at`, to the microsecond.

    RFC 9562, with the fraction of the millisecond in the 12 bits after the version. The primary key
    is thus in order of time, and rows are appended at its end.
    """
    return new_ids(at, 1)[0]


def new_ids(at: datetime, count: int) -> list[str]:
    """So many ids of this kind, of the same instant."""
    first, random = first_call_id(at), os.urandom(8 * count)
    lows = struct.unpack(f">{count}Q", random)
    return [f"{first}{0x8 << 60 | low & (1 << 62) - 1:016x}" for low in lows]


def first_call_id(at: datetime) -> str:
    """The lower bound of ids created at `at` or later."""
    milliseconds, rest = divmod(microseconds(at), 1000)
    return f"{milliseconds:012x}7{rest * 4096 // 1000:03x}"


def instant_of(call_id: str) -> datetime:
    """The UTC instant of a call id, to the millisecond."""
    return instant(int(call_id[:12], 16) * 1000)
