"""Fair share per client: bytes a minute, failed tokens a minute; in one worker.

One client that sends much, or what does not compress, is slowed alone: the others keep their
database and their disk.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from service.auth.clients import Client
from service.errors import TooManyCalls

_PAUSE_SECONDS = 0.5

_MOST_KEYS = 10_000
"""Keys of one minute that are counted apart; an attacker chooses them."""

_BUCKETS = 16_384
"""Counts of all further keys of that minute. Which of them a key has, nobody outside can tell, and
to fill them all takes more requests than one service answers.
"""


class MinuteCounts:
    """Counts by key that begin anew each minute; `seconds` is the time in seconds since 1970."""

    def __init__(self, seconds: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._minute = -1
        self._counts: Counter[tuple[str, ...] | int] = Counter()

    def minute(self) -> int:
        """The number of the present minute."""
        return int(self._seconds() // 60)

    def add(self, key: tuple[str, ...], count: int = 1, minute: int | None = None) -> None:
        """Count in the present minute; not, if it is no longer the `minute` that is given."""
        with self._lock:
            counts = self._of_this_minute()
            if minute in (None, self._minute):
                counts[self._counted(key)] += count

    def of(self, key: tuple[str, ...]) -> int:
        with self._lock:
            counts = self._of_this_minute()
            return counts[self._counted(key)]

    def has(self, key: tuple[str, ...]) -> bool:
        """Whether this very key was counted in this minute."""
        with self._lock:
            return key in self._of_this_minute()

    def seconds_left(self) -> int:
        """Whole seconds until the next minute, at least one."""
        return 60 - int(self._seconds() % 60)

    def _counted(self, key: tuple[str, ...]) -> tuple[str, ...] | int:
        """The key itself, or its bucket where it came too late for a count of its own."""
        if key in self._counts or len(self._counts) < _MOST_KEYS:
            return key
        # Python's hash of a text is another one in each process.
        return hash(key) % _BUCKETS

    def _of_this_minute(self) -> Counter[tuple[str, ...] | int]:
        minute = self.minute()
        if minute != self._minute:
            self._minute, self._counts = minute, Counter()
        return self._counts


class StoredBytes:
    """At most `most` bytes a minute of each client's calls are read and kept."""

    def __init__(self, most: int, counts: MinuteCounts) -> None:
        self._most = most
        self._counts = counts

    def check(self, client: Client) -> None:
        """Raise TooManyCalls if the client has had its bytes of this minute."""
        if self._counts.of((client.issuer,)) >= self._most:
            raise TooManyCalls(
                f"at most {self._most} bytes a minute",
                self._counts.seconds_left(),
                limit="bytes a minute",
            )

    def add(self, client: Client, count: int) -> None:
        self._counts.add((client.issuer,), count)


class FailedTokens:
    """At most `most` failed tokens a minute by issuer and address; then none of theirs is checked.

    The issuer is the one that the tokens name, which proves nothing: so the address counts with it,
    or anybody could lock another client out.
    """

    def __init__(self, most: int, counts: MinuteCounts) -> None:
        self._most = most
        self._counts = counts

    def check(self, issuer: str, address: str) -> None:
        """Raise TooManyCalls if too many tokens of this issuer from this address have failed."""
        if self._counts.of((issuer, address)) >= self._most:
            raise TooManyCalls(
                f"at most {self._most} invalid tokens a minute",
                self._counts.seconds_left(),
                limit="invalid tokens a minute",
            )

    def add(self, issuer: str, address: str) -> None:
        self._counts.add((issuer, address))


class SlowRefusals:
    """Refusals that are answered after a pause: a caller that does not wait is made to.

    At most `most` are held at a time; the others are answered at once. `sleep` takes seconds.
    """

    def __init__(self, most: int, sleep: Callable[[float], None] = time.sleep) -> None:
        self._places = threading.BoundedSemaphore(most)
        self._sleep = sleep

    def pause(self) -> None:
        """Hold the caller's thread for a moment, if few are held."""
        if self._places.acquire(blocking=False):
            try:
                self._sleep(_PAUSE_SECONDS)
            finally:
                self._places.release()


class SpentShares:
    """Clients that have had what one may have in this minute, by address.

    Their further tokens from there are refused unchecked, so that a flood costs no signatures. None
    but the client comes to this list, since a token that holds brings it there.
    """

    def __init__(self, counts: MinuteCounts) -> None:
        self._counts = counts

    def check(self, client: Client, address: str) -> None:
        """Raise TooManyCalls if the client has had its share."""
        if self._counts.has((client.issuer, address)):
            raise TooManyCalls(
                "this minute's share is spent",
                self._counts.seconds_left(),
                limit="share spent",
                client=client.name,
            )

    def minute(self) -> int:
        """The number of the present minute, to be read before a share is looked at."""
        return self._counts.minute()

    def add(self, client: Client, address: str, minute: int) -> None:
        """The client has had its share of `minute`. If that has ended meanwhile, it has a new one
        and is not listed.
        """
        self._counts.add((client.issuer, address), minute=minute)
