"""Store protocol of the decision log: the database behind the segments."""

from __future__ import annotations

from typing import Protocol

from service.decision_log.rows import LogEntry


class LogStore(Protocol):
    """A place for rows, behind the segments. Used by one thread at a time.

    Deadlines are `time.monotonic()` values. A store that waits for the network may overrun one;
    `interrupt` ends the wait.
    """

    def write(self, entry: LogEntry, deadline: float) -> None:
        """Add the rows in one transaction; existing rows stay as they are.

        Raises StoreUnavailable or EntryRejected: then nothing was added, except when the
        acknowledgement of a commit was lost.
        """
        ...

    def newest(self, chain: int) -> tuple[int, bytes] | None:
        """Sequence number and hash of the chain's last record in the rows; None without any.

        Raises StoreUnavailable.
        """
        ...

    def ping(self, deadline: float) -> None:
        """Connect if necessary; StoreUnavailable unless the store answers and has its tables."""
        ...

    def interrupt(self) -> None:
        """Fail a hanging write or ping of another thread. Safe at any time."""
        ...

    def close(self) -> None: ...
