"""Recall of a call by its coverage assertion: the context of a form (CRD 2.2.1 sec-6)."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.database.urls import is_sqlite
from service.deadline import run_with_deadline
from service.decision_log.fetched_resources import fetched_resources
from service.errors import ConfigurationError, RecordsUnavailable, StoreUnavailable
from service.fhir.document import Resource

_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class RecalledCall:
    """An earlier call: its service's id, the "Type/id" of the order that the id was given for, and
    its body without any token.

    `fetched` are the resources that its EHR was asked for: the order itself may be among them.
    """

    service_id: str
    order: str
    request: bytes = field(repr=False)
    fetched: tuple[Resource, ...] = field(default=(), repr=False)


def recall(database_url: str, assertion_id: str, client: str) -> RecalledCall | None:
    """The latest call of this client whose answer stated this id; None if there is none.

    Raises RecordsUnavailable if the log is unavailable.
    """
    try:
        return run_with_deadline(lambda: _look_up(database_url, assertion_id, client), _SECONDS)
    except (StoreUnavailable, TimeoutError) as error:
        raise RecordsUnavailable(f"the decision log cannot be read ({error})") from None


def _look_up(database_url: str, assertion_id: str, client: str) -> RecalledCall | None:
    from sqlalchemy import inspect, select
    from sqlalchemy.exc import SQLAlchemyError

    from service.database.engines import is_there, open_engine
    from service.decision_log.rows import unpack_payload
    from service.decision_log.tables import call, determination

    wanted = (
        select(call.c.service_id, determination.c.order_ref, call.c.kept)
        .join(determination, determination.c.call_id == call.c.call_id)
        .where(determination.c.assertion_id == assertion_id, determination.c.stated == 1)
        .where(call.c.client == client)
        .order_by(call.c.call_id.desc())
        .limit(1)
    )
    try:
        if not is_there(database_url):
            return None  # the log does not exist yet
        with open_engine(database_url).connect() as connection:
            if is_sqlite(database_url) and not inspect(connection).has_table(call.name):
                return None  # the file is there, and no call has been recorded yet
            found = connection.execute(wanted).first()
    except (SQLAlchemyError, OSError, ConfigurationError) as error:
        raise StoreUnavailable(type(getattr(error, "orig", None) or error).__name__) from error
    if found is None:
        return None
    kept = unpack_payload(found.kept)
    if kept.request is None:
        return None
    fetched = fetched_resources(kept.fetched)
    return RecalledCall(found.service_id, found.order_ref, kept.request, fetched)
