"""Earlier calls that a package's context names, looked up in the decision log."""

from __future__ import annotations

from typing import Protocol

from service.decision_log.recall import RecalledCall, recall


class LoggedCalls(Protocol):
    """Where earlier calls are looked up."""

    def by_assertion_id(self, assertion_id: str, client: str) -> RecalledCall | None:
        """The latest call of this client whose answer gave this id; None if there is none.

        Another client's call is none: it is neither shown nor told to exist.
        """
        ...


class RecordedCalls:
    """The calls in the log at `database_url`; RecordsUnavailable where it cannot be read."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    def by_assertion_id(self, assertion_id: str, client: str) -> RecalledCall | None:
        """As LoggedCalls says. Raises RecordsUnavailable if the log cannot be read now."""
        return recall(self._database_url, assertion_id, client)
