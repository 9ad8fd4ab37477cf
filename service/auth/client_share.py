"""Fair share per client: calls at a time, bytes a minute, failed tokens a minute; in one worker.

One client whose EHR is silent, or that sends what does not compress, is slowed alone: the others
keep their slots, their database and their disk.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from service.auth.clients import Client
from service.errors import TooManyCalls

_MOST_KEYS = 10_000
"""Keys of one minute that are counted apart; an attacker chooses them."""


class MinuteCounts:
    """Counts by key that begin anew each minute; `seconds` is the time in seconds since 1970."""

    def __init__(self, seconds: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._minute = -1
        self._counts: Counter[tuple[str, ...]] = Counter()

    def add(self, key: tuple[str, ...], count: int = 1) -> None:
        with self._lock:
            counts = self._of_this_minute()
            if key not in counts and len(counts) >= _MOST_KEYS:
                key = ()
            counts[key] += count

    def of(self, key: tuple[str, ...]) -> int:
        with self._lock:
            counts = self._of_this_minute()
            return counts[key] if key in counts or len(counts) < _MOST_KEYS else counts[()]

    def seconds_left(self) -> int:
        """Whole seconds until the next minute, at least one."""
        return 60 - int(self._seconds() % 60)

    def _of_this_minute(self) -> Counter[tuple[str, ...]]:
        minute = int(self._seconds() // 60)
        if minute != self._minute:
            self._minute, self._counts = minute, Counter()
        return self._counts


class ConcurrentCalls:
    """At most `most` calls of each client at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()

    def begin(self, client: Client) -> None:
        """Count a call that begins. Raises TooManyCalls if the client has too many under way."""
        with self._lock:
            if self._calls[client.issuer] >= self._most:
                raise TooManyCalls(f"at most {self._most} calls at a time", retry_after=1)
            self._calls[client.issuer] += 1

    def end(self, client: Client) -> None:
        """Count a call that has ended."""
        with self._lock:
            self._calls[client.issuer] -= 1
            if not self._calls[client.issuer]:
                del self._calls[client.issuer]


class StoredBytes:
    """At most `most` bytes a minute of each client's calls are read and kept."""

    def __init__(self, most: int, counts: MinuteCounts) -> None:
        self._most = most
        self._counts = counts

    def check(self, client: Client) -> None:
        """Raise TooManyCalls if the client has had its bytes of this minute."""
        if self._counts.of((client.issuer,)) >= self._most:
            raise TooManyCalls(
                f"at most {self._most} bytes a minute", retry_after=self._counts.seconds_left()
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
                retry_after=self._counts.seconds_left(),
            )

    def add(self, issuer: str, address: str) -> None:
        self._counts.add((issuer, address))
