"""Numbers that the worker processes share, in memory of their own.

Prometheus' client for Python shares them in mapped files instead: on a full disk a write to one
ends the process (SIGBUS), and files stay behind where a process is killed. This memory is no file.
It is mapped before the workers are forked; each writes a region of its own and reads all of them.

A region is the number of bytes used, then entries: bytes of the key, number of values, the key (a
JSON list, padded to eight bytes), the values (doubles).
"""

from __future__ import annotations

import json
import mmap
import struct
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger(__name__)

Key = tuple[str, ...]
"""The name of a count and what it is of: a metric's labels' values, a client."""

REGION_BYTES = 2 * 1024 * 1024
"""Some 15,000 entries. Pages that were never written take no memory."""

_WORD = 8
_HEAD = struct.Struct("=II")


@dataclass(slots=True)
class _Seen:
    """A region as far as this process has read it: so many bytes, and the keys' places there."""

    used: int = 0
    places: dict[Key, int] = field(default_factory=dict)


class SharedCounts:
    """Numbers of several processes, by key. Safe for threads.

    Those of the metrics `of_the_living` end with the process that set them.
    """

    def __init__(
        self,
        regions: int = 1,
        of_the_living: Collection[str] = (),
        region_bytes: int = REGION_BYTES,
    ) -> None:
        self._size = region_bytes
        self._of_the_living = of_the_living
        self._regions = regions
        self._bytes = memoryview(mmap.mmap(-1, regions * region_bytes))
        self._words = self._bytes.cast("Q")
        self._values = self._bytes.cast("d")
        self._lock = threading.Lock()
        self._places: dict[Key, int] = {}
        self._seen = [_Seen() for _ in range(regions)]
        self._start = 0
        self._full = False

    def take(self, region: int) -> None:
        """Count in this region from now on, on top of what a process before has counted there."""
        with self._lock:
            self._start = region * self._size
            self._places = {key: place for key, place, _ in self._entries(region)}
            self._full = False

    def leave(self, region: int) -> None:
        """The process that counted in this region has ended; another may take it."""
        for key, place, number in self._entries(region):
            if key[0] in self._of_the_living:
                for n in range(place, place + number):
                    self._values[n] = 0.0

    def add(self, key: Key, by: float) -> None:
        """Add to the one value of a key."""
        with self._lock:
            place = self._places.get(key) or self._place(key, 1)
            if place is not None:
                self._values[place] += by

    def set(self, key: Key, value: float) -> None:
        """Set the one value of a key."""
        with self._lock:
            place = self._places.get(key) or self._place(key, 1)
            if place is not None:
                self._values[place] = value

    def observe(self, key: Key, bucket: int, buckets: int, value: float) -> None:
        """Count a value in one of a key's buckets, and add it to the sum that comes after them."""
        with self._lock:
            place = self._places.get(key) or self._place(key, buckets + 1)
            if place is not None:
                self._values[place + bucket] += 1.0
                self._values[place + buckets] += value

    def count_in(self, key: Key, period: int) -> int | None:
        """Count one in a period, such as a minute; the count of this period over all regions.

        Periods before are forgotten. None where the region has no room for the key.
        """
        with self._lock:
            place = self._places.get(key) or self._place(key, 2)
            if place is None:
                return None
            values = self._values
            if values[place] != period:
                # In this order: another process that reads between the two takes it for nothing.
                values[place + 1] = 0.0
                values[place] = period
            values[place + 1] += 1.0
            total = 0.0
            for region in range(self._regions):
                there = self._place_in(region, key)
                if there is not None and values[there] == period:
                    total += values[there + 1]
            return int(total)

    def totals(self) -> dict[Key, list[float]]:
        """The values of each key, added up over all regions."""
        found: dict[Key, list[float]] = {}
        for region in range(self._regions):
            for key, place, number in self._entries(region):
                sums = found.setdefault(key, [0.0] * number)
                for n in range(number):
                    sums[n] += self._values[place + n]
        return found

    def _place_in(self, region: int, key: Key) -> int | None:
        """The first value of a key in another's region, as far as it is there."""
        seen = self._seen[region]
        used = self._words[region * self._size // _WORD]
        if used != seen.used:
            for each, place, number in self._entries(region, seen.used):
                seen.places[each] = place
                seen.used = (place + number) * _WORD - region * self._size
        return seen.places.get(key)

    def _place(self, key: Key, number: int) -> int | None:
        """The first value of a key, by its index; None where the region has no room for it."""
        place = self._places.get(key)
        if place is None and not self._full:
            place = self._append(key, number)
        return place

    def _append(self, key: Key, number: int) -> int | None:
        text = json.dumps(key).encode()
        padded = text.ljust(-(-len(text) // _WORD) * _WORD)
        used = self._words[self._start // _WORD] or _WORD
        end = used + _HEAD.size + len(padded) + number * _WORD
        if end > self._size:
            self._full = True
            log.error("no room for a further count: it is not counted", count=key[0])
            return None
        at = self._start + used
        _HEAD.pack_into(self._bytes, at, len(padded), number)
        at += _HEAD.size
        self._bytes[at : at + len(padded)] = padded
        place = (at + len(padded)) // _WORD
        for n in range(place, place + number):
            self._values[n] = 0.0
        # Last: others read as far as this says, and a process may end at any moment.
        self._words[self._start // _WORD] = end
        self._places[key] = place
        return place

    def _entries(self, region: int, since: int = 0) -> Iterator[tuple[Key, int, int]]:
        """The key, the index of the first value and the number of values of each entry; of those
        alone that begin after so many bytes of the region.
        """
        start = region * self._size
        used = self._words[start // _WORD]
        at = start + (since or _WORD)
        while at < start + used:
            length, number = _HEAD.unpack_from(self._bytes, at)
            at += _HEAD.size
            key = tuple(json.loads(bytes(self._bytes[at : at + length])))
            at += length
            yield key, at // _WORD, number
            at += number * _WORD
