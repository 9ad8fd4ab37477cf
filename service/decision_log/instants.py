"""Points in time as the log keeps them: microseconds since 1970 UTC, and ids that sort by them."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """An instant with a time zone as whole microseconds since 1970 UTC."""
    return (at - _EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """The instant, in UTC, of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


def new_call_id(at: datetime) -> str:
    """A unique id, 32 hexadecimal digits, that sorts by `at`, to the microsecond.

    It is a UUID of version 7 (RFC 9562, with the part of the millisecond in its 12 bits after the
    version). So the primary key is the order in time as well, and rows are added at its end.
    """
    low = 0x8 << 60 | int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    return f"{first_call_id(at)}{low:016x}"


def first_call_id(at: datetime) -> str:
    """A bound: ids made at `at` or later are greater, earlier ones smaller."""
    milliseconds, rest = divmod(microseconds(at), 1000)
    return f"{milliseconds:012x}7{rest * 4096 // 1000:03x}"
