"""Ages of the payer's own records: the time since the last import of each kind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from service.database.engines import is_there, open_engine
from service.deadline import run_with_deadline
from service.errors import ConfigurationError
from service.payer_data import payer_tables

_LOOK_SECONDS = 1.0
_EVERY_SECONDS = 60.0


class ImportAges:
    """Ages of the records in the database at a URL, looked up once a minute.

    Where the database does not answer, the ages are reckoned from what it said last.
    """

    def __init__(
        self,
        url: str,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._imported: Mapping[str, int] = {}
        self._look_at = float("-inf")

    def seconds(self) -> Mapping[str, float]:
        """Seconds since the last import, by kind ("members"); kinds never imported are left out."""
        with self._lock:
            if self._monotonic() >= self._look_at:
                self._look_at = self._monotonic() + _EVERY_SECONDS
                with contextlib.suppress(
                    SQLAlchemyError, OSError, ConfigurationError
                ):  # TimeoutError is one
                    self._imported = run_with_deadline(self._last, _LOOK_SECONDS)
            now = self._clock().timestamp()
            return {kind: max(0.0, now - at / 1e6) for kind, at in self._imported.items()}

    def _last(self) -> Mapping[str, int]:
        """The instant of each kind's last import, in microseconds since 1970 UTC."""
        if not is_there(self._url):
            return {}
        of = payer_tables.imports.c
        with open_engine(self._url).connect() as connection:
            found = connection.execute(select(of.kind, func.max(of.at)).group_by(of.kind))
            return {str(kind): int(at) for kind, at in found}
