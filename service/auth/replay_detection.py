"""Replay detection: each token is accepted once, across threads, workers and instances."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Protocol

import structlog
from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from service.auth.auth_tables import SharedTables, used_tokens
from service.errors import StoreUnavailable, Unavailable

log = structlog.get_logger(__name__)

_PRUNE_EVERY = 60.0
"""Seconds."""


class FirstUses(Protocol):
    """A record of accepted tokens."""

    def first_use(self, issuer: str, jti: str, expires: datetime) -> bool:
        """Record the token until `expires`; False if it is already recorded.

        Raises Unavailable if the record fails: the call is then refused.
        """


class ReplayStore(FirstUses, Protocol):
    """A record that can also be queried."""

    def used(self, issuer: str, jti: str) -> bool:
        """Whether the token is recorded. Raises Unavailable as `first_use` does."""


class SqlReplayStore:
    """A ReplayStore in the shared database: one row a token, unique by primary key.

    `seconds` is the time in seconds since 1970.
    """

    def __init__(self, engine: Engine, seconds: Callable[[], float] = time.time) -> None:
        self._tables = SharedTables(engine)
        self._seconds = seconds
        self._prune_at = 0.0

    def first_use(self, issuer: str, jti: str, expires: datetime) -> bool:
        row = {
            "issuer": issuer,
            "jti_sha256": hashed(jti),
            # Rounded up: a row must not expire before its token.
            "expires_at": int(expires.timestamp()) + 1,
        }
        try:
            with self._tables.begin() as connection:
                connection.execute(insert(used_tokens).values(row))
        except IntegrityError:
            return False
        except (SQLAlchemyError, StoreUnavailable) as error:
            raise Unavailable("tokens cannot be checked for a second use now") from error
        self._prune()
        return True

    def used(self, issuer: str, jti: str) -> bool:
        row = used_tokens.c
        wanted = select(row.issuer).where(row.issuer == issuer, row.jti_sha256 == hashed(jti))
        try:
            with self._tables.begin() as connection:
                return connection.execute(wanted).first() is not None
        except (SQLAlchemyError, StoreUnavailable) as error:
            raise Unavailable("tokens cannot be checked for a second use now") from error

    def _prune(self) -> None:
        now = self._seconds()
        if now < self._prune_at:
            return
        self._prune_at = now + _PRUNE_EVERY
        try:
            with self._tables.begin() as connection:
                connection.execute(delete(used_tokens).where(used_tokens.c.expires_at < int(now)))
        except (SQLAlchemyError, StoreUnavailable) as error:
            # No call depends on it; the next pruning removes these rows too.
            log.warning("expired tokens not pruned", kind=type(error).__name__)


def hashed(jti: str) -> str:
    """The kept form of a token's id."""
    return sha256(jti.encode("utf-8", "surrogatepass")).hexdigest()
