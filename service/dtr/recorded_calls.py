"""The decision log as a package's LoggedCalls."""

from __future__ import annotations

from service.decision_log.recall import recall
from service.dtr.logged_calls import LoggedCall


class RecordedCalls:
    """Looks calls up in the log at `database_url`; RecordsUnavailable where it cannot be read."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url

    def by_assertion_id(self, assertion_id: str, client: str) -> LoggedCall | None:
        found = recall(self._database_url, assertion_id, client)
        if found is None:
            return None
        return LoggedCall(found.service_id, found.order, found.request, found.fetched)
