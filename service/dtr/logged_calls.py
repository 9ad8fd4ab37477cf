"""Look-up of the logged call behind a package's context."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from service.decision_log.recall import RecalledCall, recall
from service.errors import RecordsUnavailable

_SECONDS = 2.0


class LoggedCalls(Protocol):
    """Protocol of the look-up of logged calls."""

    def by_assertion_id(self, assertion_id: str, client: str) -> RecalledCall | None:
        """This client's latest call with this assertion id, or None.

        Another client's call is not disclosed.
        """
        ...


class RecordedCalls:
    """Look-up in the log at `database_url`.

    `settle` waits, for some seconds at most, until what this service recorded is in the rows.
    """

    def __init__(self, database_url: str, settle: Callable[[float], bool]) -> None:
        self._database_url = database_url
        self._settle = settle

    def by_assertion_id(self, assertion_id: str, client: str) -> RecalledCall | None:
        """As LoggedCalls. Raises RecordsUnavailable if the log cannot be read."""
        try:
            found = recall(self._database_url, assertion_id, client)
        except RecordsUnavailable:
            found = None
        if found is None:
            # A moment after its answer, a call may be in the segments alone, and a new database
            # without tables.
            self._settle(_SECONDS)
            found = recall(self._database_url, assertion_id, client)
        return found
