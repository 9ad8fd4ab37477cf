"""Look-up of the logged call behind a package's context."""

from __future__ import annotations

from typing import Protocol

from service.decision_log.recall import RecalledCall, recall


class LoggedCalls(Protocol):
    """Protocol of the look-up of logged calls."""

    def by_assertion_id(self, assertion_id: str, client: str) -> RecalledCall | None:
        """This client's latest call with this assertion id, or None.

        Another client's call is not disclosed.
        """
        ...


class RecordedCalls:
    """Look-up in the log at `database_url`."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    def by_assertion_id(self, assertion_id: str, client: str) -> RecalledCall | None:
        """As LoggedCalls. Raises RecordsUnavailable if the log cannot be read."""
        return recall(self._database_url, assertion_id, client)
