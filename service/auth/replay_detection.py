"""Replay detection: each token is accepted once, across threads, workers and instances.

A proxy that loses an instance in the middle of a call repeats it at another one, token included.
That is the same call, and is told by the proxy's own id of the client's request, which nobody else
knows: a digest of it is kept beside the token. For a short time and a few times, the same token
with the same digest is a repetition; everything else is a replay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from enum import Enum, auto
from hashlib import sha256
from typing import Protocol

import structlog
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from service.auth.auth_tables import SharedTables, used_tokens
from service.call_facts import note
from service.errors import StoreUnavailable, Unauthenticated, Unavailable

log = structlog.get_logger(__name__)

_PRUNE_EVERY = 60.0
"""Seconds."""


REPEATABLE_SECONDS = 15
"""How long the proxy may repeat a request: nginx's example does so for ten seconds
(`proxy_next_upstream_timeout`), and the clocks of two instances differ.
"""

MOST_REPEATS = 2
"""Repetitions of a request: nginx's example tries three instances (`proxy_next_upstream_tries`)."""


class Use(Enum):
    """A use of a token: its first, the proxy's repetition of that call, or a replay."""

    FIRST = auto()
    REPEATED = auto()
    REPLAYED = auto()


class UsedTokens(Protocol):
    """A record of accepted tokens."""

    def use(self, issuer: str, jti: str, expires: datetime, request: str | None = None) -> Use:
        """Record the token until `expires`, if it is not recorded yet, and tell which use it is.

        `request` is the digest of the proxy's request (SHA-256 in hex); None without a proxy that
        names its requests: then nothing is a repetition. Raises Unavailable if the record fails:
        the call is then refused.
        """


class ReplayStore(UsedTokens, Protocol):
    """A record that can also be queried."""

    def used(self, issuer: str, jti: str) -> bool:
        """Whether the token is recorded. Raises Unavailable as `use` does."""


class SqlReplayStore:
    """A ReplayStore in the shared database: one row a token, unique by primary key.

    `seconds` is the time in seconds since 1970.
    """

    def __init__(self, engine: Engine, seconds: Callable[[], float] = time.time) -> None:
        self._tables = SharedTables(engine)
        self._seconds = seconds
        self._prune_at = 0.0

    def use(self, issuer: str, jti: str, expires: datetime, request: str | None = None) -> Use:
        row: dict[str, str | int] = {
            "issuer": issuer,
            "jti_sha256": hashed(jti),
            # Rounded up: a row must not expire before its token.
            "expires_at": int(expires.timestamp()) + 1,
        }
        if request is not None:
            row |= {
                "request_sha256": request,
                "repeatable_until": int(self._seconds()) + REPEATABLE_SECONDS,
                "repeats": 0,
            }
        try:
            with self._tables.begin() as connection:
                connection.execute(insert(used_tokens).values(row))
        except IntegrityError:
            return self._used_again(issuer, jti, request)
        except (SQLAlchemyError, StoreUnavailable) as error:
            raise Unavailable("tokens cannot be checked for a second use now") from error
        self._prune()
        return Use.FIRST

    def _used_again(self, issuer: str, jti: str, request: str | None) -> Use:
        """A repetition, and one less to come, or a replay."""
        if request is None:
            return Use.REPLAYED
        row = used_tokens.c
        # One statement: of many at once, no more are counted than are accepted.
        counted = (
            update(used_tokens)
            .where(
                row.issuer == issuer,
                row.jti_sha256 == hashed(jti),
                row.request_sha256 == request,
                row.repeatable_until > int(self._seconds()),
                row.repeats < MOST_REPEATS,
            )
            .values(repeats=row.repeats + 1)
        )
        try:
            with self._tables.begin() as connection:
                accepted = connection.execute(counted).rowcount == 1
        except (SQLAlchemyError, StoreUnavailable) as error:
            raise Unavailable("tokens cannot be checked for a second use now") from error
        return Use.REPEATED if accepted else Use.REPLAYED

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


def accepted(
    used: UsedTokens, issuer: str, jti: str, expires: datetime, request: str | None
) -> None:
    """Accept a token's first use, or the proxy's repetition of that call, which is noted.

    Raises Unauthenticated for a replay, Unavailable if the record fails.
    """
    use = used.use(issuer, jti, expires, request)
    if use is Use.REPLAYED:
        raise Unauthenticated("jti", "was used before")
    if use is Use.REPEATED:
        note(repeated=True)


def hashed(jti: str) -> str:
    """The kept form of a token's id."""
    return sha256(jti.encode("utf-8", "surrogatepass")).hexdigest()
