"""Decision detail: one decision with its call, its related decisions and the feedback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from service.decision_log import queries
from service.decision_log.queries import LoggedCall, LoggedDecision
from service.decision_log.rows import DeterminationRow, FeedbackRow
from service.fhir.orders import ORDER_TYPES

_MOST_CALLS = 20


@dataclass(frozen=True, slots=True)
class DecisionDetail:
    """A decision with its call.

    `others` are further assertions with the same id, newest first; `replaces` and `replaced_by`,
    the assertion ids before and after this one; `said`, the feedback on the cards.
    `same_id_elsewhere` are other clients' decisions with this id: EHRs that send no address may
    share ids of patients and orders.
    """

    decision: LoggedDecision
    call: LoggedCall
    others: tuple[LoggedDecision, ...]
    replaces: str | None
    replaced_by: str | None
    said: tuple[FeedbackRow, ...]
    same_id_elsewhere: tuple[LoggedDecision, ...] = ()

    @property
    def determination(self) -> DeterminationRow:
        return self.decision.determination

    @property
    def trace(self) -> list[tuple[str, str, str]]:
        """The decision trace: (topic, finding, because)."""
        return self.call.kept.traces[self.determination.position]


@dataclass(frozen=True, slots=True)
class CallDetail:
    """A call, including a refused call and one without determinations."""

    call: LoggedCall
    said: tuple[FeedbackRow, ...]


def call_detail(connection: Connection, call_id: str) -> CallDetail | None:
    """The call with this id, or None."""
    call = queries.one_call(connection, call_id)
    return None if call is None else CallDetail(call, _said(connection, call))


def by_assertion(
    connection: Connection, assertion_id: str, client: str | None = None
) -> DecisionDetail | None:
    """The latest decision with this assertion id, or None; of one client, or of all."""
    found = queries.by_assertion(connection, assertion_id, _MOST_CALLS, client)
    return _whole(connection, found[0], found[1:]) if found else None


def by_place(connection: Connection, call_id: str, position: int) -> DecisionDetail | None:
    """The decision at this position of a call, or None."""
    decision = queries.one_decision(connection, call_id, position)
    if decision is None:
        return None
    same = decision.determination.assertion_id
    found = queries.by_assertion(connection, same, _MOST_CALLS) if same else []
    others = [d for d in found if (d.call_id, d.determination.position) != (call_id, position)]
    return _whole(connection, decision, others)


def patient_reference(written: str) -> str:
    """A patient's reference as stored: "Patient/ann", also for "ann"."""
    return written if "/" in written else f"Patient/{written}"


def order_references(written: str) -> tuple[str, ...]:
    """An order's references as stored, "Type/id"; for a bare id, one for each order type."""
    return (written,) if "/" in written else tuple(f"{t}/{written}" for t in sorted(ORDER_TYPES))


def _whole(
    connection: Connection, decision: LoggedDecision, others: Sequence[LoggedDecision]
) -> DecisionDetail | None:
    call = queries.one_call(connection, decision.call_id)
    if call is None:  # pruned meanwhile
        return None
    asserted = decision.determination.assertion_id is not None
    before = queries.replaced_by_log(connection, decision) if asserted else None
    return DecisionDetail(
        decision=decision,
        call=call,
        others=tuple(d for d in others if _whose(d) == _whose(decision)),
        same_id_elsewhere=tuple(d for d in others if _whose(d) != _whose(decision)),
        replaces=decision.determination.replaces or before,
        replaced_by=queries.replacement(connection, decision) if asserted else None,
        said=_said(connection, call),
    )


def _said(connection: Connection, call: LoggedCall) -> tuple[FeedbackRow, ...]:
    shown = [str(card["uuid"]) for card in call.cards]
    return tuple(queries.feedback_on(connection, shown, call.row.client))


def _whose(decision: LoggedDecision) -> tuple[str | None, ...]:
    return (decision.client, decision.ehr, decision.patient)
