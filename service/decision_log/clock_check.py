"""Clock check: this machine's clock against the newest record, and against its own steady clock.

A clock that jumps ahead by years makes all records look past their retention. Pruning stops where
the records do not bear witness to the time that the clock says has passed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, func, select

from service.decision_log.instants import first_call_id, instant_of
from service.decision_log.tables import call

TOLERANCE = timedelta(minutes=10)
"""How far clocks of instances may differ."""
LONGEST_SILENCE = timedelta(days=30)
"""A longer time without any call may be a clock that has jumped."""
_JUMP_SECONDS = 120.0
_LOOK_EVERY_SECONDS = 300.0

log = structlog.get_logger(__name__)


def newest_record(connection: Connection) -> datetime | None:
    """The instant of the newest call, UTC; None without any."""
    found = connection.execute(select(func.max(call.c.call_id))).scalar()
    return instant_of(str(found)) if found else None


def clock_doubt(connection: Connection, before: datetime, now: datetime) -> str | None:
    """The reason to doubt that calls received before an instant are that old; None without any.

    Each record is looked for within LONGEST_SILENCE of the one before, from the newest of those up
    to now: a jump of the clock leaves a gap, also where calls were recorded after it.
    """
    newest = newest_record(connection)
    if newest is None:
        return None
    if newest > now + TOLERANCE:
        return (
            f"the newest record is of {newest:%Y-%m-%d %H:%M}, and this machine's clock says"
            f" {now:%Y-%m-%d %H:%M} (UTC)"
        )
    last = _newest_between(connection, None, before)
    if last is None:
        return None
    at = instant_of(last)
    while at + LONGEST_SILENCE < now:
        found = _newest_between(connection, last, at + LONGEST_SILENCE)
        if found is None:
            return (
                f"no call is on record for {LONGEST_SILENCE.days} days after"
                f" {at:%Y-%m-%d %H:%M} (UTC)"
            )
        last, at = found, instant_of(found)
    return None


def _newest_between(connection: Connection, after: str | None, until: datetime) -> str | None:
    wanted = select(func.max(call.c.call_id)).where(call.c.call_id < first_call_id(until))
    if after is not None:
        wanted = wanted.where(call.c.call_id > after)
    found = connection.execute(wanted).scalar()
    return str(found) if found else None


@dataclass(frozen=True, slots=True)
class ClockState:
    """The clock as a running service sees it.

    `jumped` are the seconds that it went ahead (negative: back) of the steady clock since the
    start; `behind`, those that the newest record is ahead of it.
    """

    jumped: float = 0.0
    behind: float = 0.0

    @property
    def trouble(self) -> str | None:
        """The trouble in words; None without any."""
        if abs(self.jumped) > _JUMP_SECONDS:
            return f"this machine's clock has jumped by {self.jumped:.0f} seconds"
        if self.behind > TOLERANCE.total_seconds():
            return f"the newest record is {self.behind:.0f} seconds ahead of this machine's clock"
        return None


class ClockWatch:
    """Watch over the clock of one process.

    `newest` reads the newest record's instant, in a thread of its own; `clock` is the time of the
    service, `wall` and `steady` are in seconds.
    """

    def __init__(
        self,
        newest: Callable[[], datetime | None],
        clock: Callable[[], datetime],
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._newest = newest
        self._clock = clock
        self._wall, self._steady = wall, steady
        self._offset = wall() - steady()
        self._behind = 0.0
        self._look_at = 0.0
        self._lock = threading.Lock()
        self._told: str | None = None

    def state(self) -> ClockState:
        """The present state; never waits for the database."""
        with self._lock:
            if self._steady() >= self._look_at:
                self._look_at = self._steady() + _LOOK_EVERY_SECONDS
                with contextlib.suppress(RuntimeError):  # no thread is to be had: at the next look
                    threading.Thread(target=self.look, name="clock-check", daemon=True).start()
            state = ClockState(self._wall() - self._steady() - self._offset, self._behind)
            trouble = state.trouble
            if trouble != self._told:
                self._told = trouble
                if trouble is not None:
                    log.error("the clock is in doubt, do not prune", reason=trouble)
        return state

    def look(self) -> None:
        """Compare the clock with the newest record now."""
        try:
            newest = self._newest()
        except Exception as error:
            # The records' own check tells of a database that is away.
            log.info("the newest record cannot be read", kind=type(error).__name__)
            return
        if newest is not None:
            self._behind = (newest - self._clock()).total_seconds()
