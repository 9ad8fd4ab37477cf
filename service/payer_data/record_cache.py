"""Answers of a slow source, kept for a while in memory; each tells when it was read."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from service.payer_data.port import Records, Wanted

_MOST = 10_000
_LONGEST_KEPT = 4_000
"""Characters of what was wanted: a call may name numbers and codes of a megabyte."""


class RecordCache:
    """Answers by what was wanted, for `seconds`; the longest unused go first when it is full."""

    def __init__(
        self,
        seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
        most: int = _MOST,
    ) -> None:
        self._seconds = seconds
        self._clock = monotonic
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[Wanted, tuple[float, Records]] = OrderedDict()

    def get(self, wanted: Wanted) -> Records | None:
        with self._lock:
            found = self._kept.get(wanted)
            if found is None:
                return None
            if self._clock() - found[0] >= self._seconds:
                del self._kept[wanted]
                return None
            self._kept.move_to_end(wanted)
            return found[1]

    def put(self, wanted: Wanted, records: Records) -> None:
        if self._seconds <= 0 or _length(wanted) > _LONGEST_KEPT:
            return
        with self._lock:
            self._kept[wanted] = self._clock(), records
            self._kept.move_to_end(wanted)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


def _length(wanted: Wanted) -> int:
    texts = (wanted.numbers, wanted.codes, wanted.providers, wanted.written)
    return sum(len(text) for some in texts for text in some)
