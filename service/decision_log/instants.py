"""Instants of the log: microseconds since 1970 UTC, and ids that sort by time."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """An instant with a time zone as whole microseconds since 1970 UTC."""
    return (at - _EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """The UTC instant of a number of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=us)


class _RandomBytes(threading.local):
    """The system's random bytes, fetched in stock: a call takes some for each of its ids."""

    def __init__(self) -> None:
        self._stock = b""

    def eight_bytes(self) -> bytes:
        stock = self._stock or os.urandom(512)
        self._stock = stock[8:]
        return stock[:8]

    def forget(self) -> None:
        self._stock = b""


_random = _RandomBytes()
os.register_at_fork(after_in_child=_random.forget)  # else both processes would use the same


def new_call_id(at: datetime) -> str:
    """UUID version 7 for a call: 32 hexadecimal digits that sort by `at`, to the microsecond.

    RFC 9562, with the fraction of the millisecond in the 12 bits after the version. The primary key
    is thus in order of time, and rows are appended at its end.
    """
    low = 0x8 << 60 | int.from_bytes(_random.eight_bytes()) & (1 << 62) - 1
    return f"{first_call_id(at)}{low:016x}"


def first_call_id(at: datetime) -> str:
    """The lower bound of ids created at `at` or later."""
    milliseconds, rest = divmod(microseconds(at), 1000)
    return f"{milliseconds:012x}7{rest * 4096 // 1000:03x}"


def instant_of(call_id: str) -> datetime:
    """The UTC instant of a call id, to the millisecond."""
    return instant(int(call_id[:12], 16) * 1000)
