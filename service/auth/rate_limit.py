"""Rate limit: calls of a client per minute, counted by an instance or in the shared database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from sqlalchemy import Engine, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from service.auth.auth_tables import SharedTables, client_calls
from service.auth.clients import Client
from service.errors import StoreUnavailable, TooManyCalls, Unavailable
from service.shared_counts import SharedCounts


class CallCounts(Protocol):
    """Call counts by client and minute."""

    def add(self, issuer: str, minute: int) -> int:
        """Count one call; returns the count of this minute."""


class MemoryCallCounts:
    """Counts of one worker process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute = -1
        self._calls: dict[str, int] = {}

    def add(self, issuer: str, minute: int) -> int:
        with self._lock:
            if minute != self._minute:
                self._minute, self._calls = minute, {}
            self._calls[issuer] = self._calls.get(issuer, 0) + 1
            return self._calls[issuer]


class InstanceCallCounts:
    """Counts of one instance: of all its workers, in the memory that they share.

    For registered clients, whose number is bounded: a client keeps its entry. Where there is no
    room for a further one, a worker counts it by itself.
    """

    def __init__(self, counts: SharedCounts) -> None:
        self._counts = counts
        self._alone = MemoryCallCounts()

    def add(self, issuer: str, minute: int) -> int:
        calls = self._counts.count_in(("client_calls", issuer), minute)
        return self._alone.add(issuer, minute) if calls is None else calls


class SqlCallCounts:
    """Counts of all instances that share a database (SQLite or PostgreSQL)."""

    def __init__(self, engine: Engine) -> None:
        self._tables = SharedTables(engine)
        on_postgres = self._tables.dialect == "postgresql"
        self._insert = postgresql.insert if on_postgres else sqlite.insert
        self._pruned = -1

    def add(self, issuer: str, minute: int) -> int:
        try:
            with self._tables.begin() as connection:
                if minute != self._pruned:
                    # Keeps the previous minute: another instance's clock may still be in it.
                    connection.execute(
                        delete(client_calls).where(client_calls.c.minute < minute - 1)
                    )
                calls: int = connection.execute(
                    self._insert(client_calls)
                    .values(issuer=issuer, minute=minute, calls=1)
                    .on_conflict_do_update(
                        index_elements=["issuer", "minute"],
                        set_={"calls": client_calls.c.calls + 1},
                    )
                    .returning(client_calls.c.calls)
                ).scalar_one()
        except (SQLAlchemyError, StoreUnavailable) as error:
            raise Unavailable("calls cannot be counted now") from error
        self._pruned = minute
        return calls


class CallLimit:
    """A limit of `per_minute` calls per client; `seconds` is the time in seconds since 1970."""

    def __init__(
        self, per_minute: int, counts: CallCounts, seconds: Callable[[], float] = time.time
    ) -> None:
        self._per_minute = per_minute
        self._counts = counts
        self._seconds = seconds

    def count(self, client: Client) -> None:
        """Count a call of `client`. Raises TooManyCalls with the seconds until the next minute."""
        now = self._seconds()
        if self._counts.add(client.issuer, int(now // 60)) > self._per_minute:
            raise TooManyCalls(
                f"at most {self._per_minute} calls a minute",
                60 - int(now % 60),
                limit="calls a minute",
            )
