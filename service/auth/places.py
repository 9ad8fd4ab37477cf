"""Places in one worker: so many at a time, in all and for each key (a client, an address)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import TooManyCalls, Unavailable

_RETRY_AFTER = 1
"""Seconds; a place is held for no longer than a few."""


class Places:
    """At most `most` places at a time, `most_of_one` of them for one key.

    `what` names those that take them, for messages ("request bodies"). One key that takes all it
    may leaves the others theirs.
    """

    def __init__(self, what: str, most: int, most_of_one: int) -> None:
        self._what = what
        self._most = most
        self._most_of_one = most_of_one
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self.in_all = 0
        """The places taken now."""

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """A block with a place. Raises as `take`."""
        self.take(key)
        try:
            yield
        finally:
            self.give_back(key)

    def take(self, key: str) -> None:
        """Take a place, to be given back.

        Raises TooManyCalls (429) if the key has its share, Unavailable (503) if all are taken.
        """
        with self._lock:
            # The key's own share first: it is told of its own doing, not of the others'.
            if self._taken[key] >= self._most_of_one:
                raise TooManyCalls(
                    f"at most {self._most_of_one} {self._what} at a time",
                    _RETRY_AFTER,
                    limit=f"{self._what} at a time",
                )
            if self.in_all >= self._most:
                raise Unavailable(
                    f"too many {self._what} at a time",
                    _RETRY_AFTER,
                    limit=f"{self._what} at a time, all",
                )
            self._taken[key] += 1
            self.in_all += 1

    def take_again(self, key: str) -> None:
        """Take a place that was given back for a while, also if all have been taken meanwhile."""
        with self._lock:
            self._taken[key] += 1
            self.in_all += 1

    def give_back(self, key: str) -> None:
        """Give back a place that was taken with this key."""
        with self._lock:
            self.in_all -= 1
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
