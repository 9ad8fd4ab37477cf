"""What a store of the log is."""

from __future__ import annotations

from typing import Protocol

from service.decision_log.rows import Entry
from service.errors import CovercardError


def is_sqlite(url: str) -> bool:
    """Whether a database URL names an SQLite file; otherwise it names a PostgreSQL server."""
    return url.startswith("sqlite:")


class StoreUnavailable(CovercardError):
    """The store did not take the rows; they are to be kept elsewhere and tried again."""


class EntryRejected(CovercardError):
    """The store is there, but it will never take these very rows."""


class LogStore(Protocol):
    """A place where rows are durable once `write` returns. Used by one thread at a time.

    Deadlines are `time.monotonic()` values. A store may be late where it waits for a network: then
    `interrupt` ends the wait.
    """

    def write(self, entry: Entry, deadline: float) -> None:
        """Add the rows in one transaction; those that are there already stay as they are.

        Raises StoreUnavailable or EntryRejected; then nothing was added, unless the answer of a
        commit was lost. Never connects: that is `ping`'s, away from answers that are waited for.
        """
        ...

    def ping(self, deadline: float) -> None:
        """Connect if need be; StoreUnavailable unless the store answers and has its tables."""
        ...

    def interrupt(self) -> None:
        """Make a write or ping that hangs in another thread fail. Safe at any time."""
        ...

    def close(self) -> None: ...
