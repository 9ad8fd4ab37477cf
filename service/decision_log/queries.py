"""Queries of the log: by assertion id, by patient, order or time, and in full."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, select

from service.decision_log.instants import first_call_id, instant
from service.decision_log.rows import (
    CallPayload,
    CallRow,
    DeterminationRow,
    FeedbackRow,
    unpack_payload,
)
from service.decision_log.stored_json import read_kept
from service.decision_log.tables import call, determination, feedback

_CHUNK = 200
_REPEATED_WITHIN = timedelta(seconds=30)
"""A repetition's time (`service.auth.replay_detection`), and what clocks of instances differ by."""


@dataclass(frozen=True)
class LoggedCall:
    """A stored call with its determinations."""

    row: CallRow
    determinations: tuple[DeterminationRow, ...]

    @property
    def received_at(self) -> datetime:
        """UTC."""
        return instant(self.row.received_at)

    @cached_property
    def kept(self) -> CallPayload:
        """Request, answer and traces, unpacked."""
        return unpack_payload(self.row.kept)

    @cached_property
    def answer(self) -> dict[str, Any]:
        """The answer's JSON: a CDS Hooks answer, or an OperationOutcome."""
        read: dict[str, Any] = read_kept(self.kept.answer)
        return read

    @property
    def cards(self) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = self.answer.get("cards", [])
        return shown

    @cached_property
    def request(self) -> dict[str, Any]:
        """The request's JSON; empty if it was not stored or is no JSON."""
        if self.kept.request is None:
            return {}
        read: dict[str, Any] = read_kept(self.kept.request)
        return read


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """One determination with its call's columns, without the payload.

    `repeated` is true where a proxy repeated the call.
    """

    call_id: str
    received_at: datetime
    client: str
    hook: str
    ehr: str | None
    patient: str | None
    repeated: bool
    determination: DeterminationRow


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A period; None leaves an end open, `until` is exclusive."""

    since: datetime | None = None
    until: datetime | None = None


def by_assertion(
    connection: Connection, assertion_id: str, most: int, client: str | None = None
) -> list[LoggedDecision]:
    """At most `most` determinations with this assertion id, newest first; of one client, or all."""
    wanted = _decisions().where(determination.c.assertion_id == assertion_id)
    if client is not None:
        wanted = wanted.where(call.c.client == client)
    newest = wanted.order_by(determination.c.call_id.desc()).limit(most)
    return [_decision(row) for row in connection.execute(newest)]


def one_decision(connection: Connection, call_id: str, position: int) -> LoggedDecision | None:
    """The determination at this position of a call."""
    d = determination.c
    wanted = _decisions().where(d.call_id == call_id, d.position == position)
    row = connection.execute(wanted).first()
    return None if row is None else _decision(row)


def find(
    connection: Connection,
    *,
    patient: str | None = None,
    orders: Sequence[str] = (),
    ehr: str | None = None,
    client: str | None = None,
    span: TimeSpan | None = None,
    most: int,
) -> list[LoggedDecision]:
    """Determinations of a patient ("Patient/id") or one of some orders ("Type/id"), newest first.

    Ids are unique within one EHR only; `ehr` is its FHIR base URL as in its calls, `client` the
    client's name.
    """
    wanted = _decisions()
    if patient is not None:
        wanted = wanted.where(call.c.patient == patient)
    if orders:
        wanted = wanted.where(determination.c.order_ref.in_(orders))
    if ehr is not None:
        wanted = wanted.where(call.c.ehr == ehr)
    if client is not None:
        wanted = wanted.where(call.c.client == client)
    for condition in within(determination.c.call_id, span or TimeSpan()):
        wanted = wanted.where(condition)
    newest = wanted.order_by(determination.c.call_id.desc(), determination.c.position).limit(most)
    return [_decision(row) for row in connection.execute(newest)]


def replaced_by_log(connection: Connection, decision: LoggedDecision) -> str | None:
    """The client's previous assertion id on the same order and coverage."""
    return _neighbor(connection, decision, later=False)


def replacement(connection: Connection, decision: LoggedDecision) -> str | None:
    """The client's next assertion id on the same order and coverage."""
    return _neighbor(connection, decision, later=True)


def _neighbor(connection: Connection, decision: LoggedDecision, *, later: bool) -> str | None:
    d = determination.c
    this = decision.determination
    order = d.call_id.asc() if later else d.call_id.desc()
    beside = (
        select(d.assertion_id)
        .join(call, call.c.call_id == d.call_id)
        .where(
            d.order_ref == this.order_ref,
            d.call_id > this.call_id if later else d.call_id < this.call_id,
            d.coverage == this.coverage,
            d.assertion_id.is_not(None),
            d.assertion_id != this.assertion_id,
            call.c.client == decision.client,
            call.c.patient == decision.patient,
            func.coalesce(call.c.ehr, "") == (decision.ehr or ""),
        )
        .order_by(order)
        .limit(1)
    )
    found = connection.execute(beside).scalar()
    return None if found is None else str(found)


def one_call(connection: Connection, call_id: str) -> LoggedCall | None:
    """The call with this id, or None."""
    row = connection.execute(select(call).where(call.c.call_id == call_id)).first()
    if row is None:
        return None
    of_it = determination.c.call_id == call_id
    found = connection.execute(
        select(determination).where(of_it).order_by(determination.c.position)
    )
    return LoggedCall(CallRow(*row), tuple(DeterminationRow(*r) for r in found))


def count_calls(connection: Connection, span: TimeSpan) -> int:
    counted = select(func.count()).select_from(call).where(*within(call.c.call_id, span))
    return int(connection.execute(counted).scalar() or 0)


def unreceived(connection: Connection, span: TimeSpan) -> frozenset[str]:
    """The calls of a period, and around its ends, whose answer nobody received: a proxy repeated
    them, and the last repetition's answer is the one that came.

    Statistics leave them out, so that a call counts once. A repetition has the client, service and
    hookInstance of its first attempt, of which there may be no record.
    """
    c = call.c
    until = None if span.until is None else span.until + _REPEATED_WITHIN
    repetitions = (
        select(c.call_id, c.client, c.service_id, c.hook_instance, c.received_at)
        .where(c.repeated.is_not(None), c.hook_instance.is_not(None))
        .where(*within(c.call_id, TimeSpan(span.since, until)))
    )
    lost: set[str] = set()
    for last, client, service_id, hook_instance, at in connection.execute(repetitions).all():
        # Instances' clocks differ: the first attempt may be the later one by its own.
        near = TimeSpan(instant(at) - _REPEATED_WITHIN, instant(at) + _REPEATED_WITHIN)
        attempts = select(c.call_id).where(
            c.client == client,
            c.service_id == service_id,
            c.hook_instance == hook_instance,
            c.repeated.is_(None) | (c.call_id < last),
            *within(c.call_id, near),
        )
        lost.update(connection.execute(attempts).scalars())
    return frozenset(lost)


def all_calls(connection: Connection, span: TimeSpan) -> Iterator[LoggedCall]:
    """All calls of a period, oldest first, read in chunks of bounded memory."""
    last = ""
    while True:
        calls = select(call).where(*within(call.c.call_id, span), call.c.call_id > last)
        rows = [
            CallRow(*r) for r in connection.execute(calls.order_by(call.c.call_id).limit(_CHUNK))
        ]
        if not rows:
            return
        determined = _by_call(connection, rows[0].call_id, rows[-1].call_id)
        for row in rows:
            yield LoggedCall(row, tuple(determined.get(row.call_id, ())))
        last = rows[-1].call_id


def feedback_on(connection: Connection, cards: Iterable[str], client: str) -> list[FeedbackRow]:
    """A client's feedback on these cards, oldest first."""
    wanted = (
        select(feedback)
        .where(feedback.c.card_uuid.in_(list(cards)), feedback.c.client == client)
        .order_by(feedback.c.outcome_at, feedback.c.received_at)
    )
    return [FeedbackRow(*row) for row in connection.execute(wanted)]


def _by_call(connection: Connection, first: str, last: str) -> dict[str, list[DeterminationRow]]:
    wanted = (
        select(determination)
        .where(determination.c.call_id.between(first, last))
        .order_by(determination.c.call_id, determination.c.position)
    )
    found: dict[str, list[DeterminationRow]] = {}
    for row in connection.execute(wanted):
        found.setdefault(row.call_id, []).append(DeterminationRow(*row))
    return found


_OF_CALL = (
    call.c.received_at,
    call.c.client,
    call.c.hook,
    call.c.ehr,
    call.c.patient,
    call.c.repeated,
)


def _decisions() -> Select[Any]:
    joined = determination.join(call, call.c.call_id == determination.c.call_id)
    return select(*_OF_CALL, *determination.c).select_from(joined)


def _decision(row: Row[Any]) -> LoggedDecision:
    values = tuple(row)
    received_at, client, hook, ehr, patient, repeated = values[: len(_OF_CALL)]
    determined = DeterminationRow(*values[len(_OF_CALL) :])
    return LoggedDecision(
        determined.call_id,
        instant(received_at),
        client,
        hook,
        ehr,
        patient,
        bool(repeated),
        determined,
    )


def within(call_id: Any, span: TimeSpan) -> Sequence[Any]:
    """Conditions on a column of call ids, which sort by time."""
    conditions = []
    if span.since is not None:
        conditions.append(call_id >= first_call_id(span.since))
    if span.until is not None:
        conditions.append(call_id < first_call_id(span.until))
    return [and_(*conditions)] if conditions else []
