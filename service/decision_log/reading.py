"""Opening the log to read in it, for a command or a page: first it is logged who reads what."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from service.decision_log.access_log import log_access
from service.decision_log.database import database_file, open_engine
from service.decision_log.log_store import StoreUnavailable, is_sqlite
from service.decision_log.schema import prepare
from service.errors import CovercardError, RecordsUnavailable


class NothingRecorded(CovercardError):
    """There is no log yet."""


@contextlib.contextmanager
def open_log(url: str, who: str, what: str, detail: Mapping[str, object]) -> Iterator[Connection]:
    """The log, for reading, once it is logged who reads what (CRD 2.0.1 statement 80).

    Of `detail`, what was asked for, empty values are left out. Raises RecordsUnavailable if the
    database cannot be used, ConfigurationError if its tables are not of this version,
    NothingRecorded if there is no log yet.
    """
    asked = {name: _plain(value) for name, value in detail.items() if value}
    try:
        with engine_for_reading(url).connect() as connection:
            log_access(connection, who, what, asked)
            yield connection
    except SQLAlchemyError as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        raise RecordsUnavailable(f"the decision log cannot be read ({kind})") from None


def engine_for_reading(url: str) -> Engine:
    """The log's database, if it is there and of this version. Raises as `open_log` does."""
    if is_sqlite(url) and not database_file(url).exists():
        raise NothingRecorded(f"nothing has been recorded at {database_file(url)}")
    try:
        prepare(url)
    except StoreUnavailable as error:
        raise RecordsUnavailable(f"the decision log cannot be reached ({error})") from None
    return open_engine(url)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)
