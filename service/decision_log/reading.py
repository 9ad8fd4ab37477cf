"""Read access to the log, for commands and pages: each access is recorded first.

What was recorded before is brought into the rows first, where the rows follow at all: so a reader
finds what was answered a moment ago.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from service.database.database_errors import trouble, what_next
from service.database.engines import database_file, is_there, open_engine
from service.database.table_revisions import prepare
from service.decision_log.log_revision import DECISION_LOG
from service.decision_log.recorder import Recorder
from service.errors import CovercardError, RecordsUnavailable, StoreUnavailable

SETTLE_SECONDS = 2.0


class NothingRecorded(CovercardError):
    """The log does not exist yet."""


@contextlib.contextmanager
def open_log(
    url: str,
    recorder: Recorder,
    who: str,
    what: str,
    detail: Mapping[str, object],
    *,
    replica: str = "",
) -> Iterator[Connection]:
    """A connection for reading, after the access is recorded (CRD 2.0.1 statement 80).

    `detail` is the search, without its empty values; `replica`, the URL of a copy of the database
    that is read in its place. Raises RecordsUnavailable if the database is
    unavailable, ConfigurationError if its tables are of another version, NothingRecorded if the log
    does not exist yet.
    """
    asked = {name: _plain(value) for name, value in detail.items() if value}
    try:
        engine = engine_for_reading(url, recorder)
        recorder.record_access(who, what, msgspec.json.encode(asked).decode())
        recorder.settle(SETTLE_SECONDS)
        with (open_engine(replica) if replica else engine).connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        next_step = what_next(error)
        if replica:
            next_step = next_step.replace("COVERCARD_", "COVERCARD_READ_")
        raise RecordsUnavailable(
            f"the decision log cannot be read ({trouble(error)}): {next_step}"
        ) from None


def engine_for_reading(url: str, recorder: Recorder) -> Engine:
    """An engine for an existing log of this version. Raises as `open_log` does."""
    if not is_there(url) and not recorder.health().waiting.bytes:
        raise NothingRecorded(f"nothing has been recorded at {database_file(url)}")
    try:
        prepare(url, DECISION_LOG)
    except StoreUnavailable as error:
        raise RecordsUnavailable(
            f"the decision log cannot be reached ({error}): {what_next(error)}"
        ) from None
    return open_engine(url)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)
