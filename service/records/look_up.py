"""One decision with all that belongs to it: its call, its neighbours, and what was said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from service.records import queries
from service.records.queries import Decision, LoggedCall
from service.records.rows import DeterminationRow, FeedbackRow

_MOST_CALLS = 20


@dataclass(frozen=True, slots=True)
class LookedUp:
    """`others` are the other times that the same was asserted, newest first; `replaces` and
    `replaced_by` the assertion ids before and after this one; `said` is the feedback on the cards.
    """

    decision: Decision
    call: LoggedCall
    others: tuple[Decision, ...]
    replaces: str | None
    replaced_by: str | None
    said: tuple[FeedbackRow, ...]

    @property
    def determination(self) -> DeterminationRow:
        return self.decision.determination

    @property
    def trace(self) -> list[tuple[str, str, str]]:
        """The way from order to answer: (topic, finding, because)."""
        return self.call.kept.traces[self.determination.position]


def by_assertion(connection: Connection, assertion_id: str) -> LookedUp | None:
    """The last decision that asserted this; None if none did."""
    found = queries.by_assertion(connection, assertion_id, _MOST_CALLS)
    return _whole(connection, found[0], found[1:]) if found else None


def by_place(connection: Connection, call_id: str, position: int) -> LookedUp | None:
    """The decision on the order at this position of a call; None if there is none."""
    decision = queries.one_decision(connection, call_id, position)
    if decision is None:
        return None
    same = decision.determination.assertion_id
    found = queries.by_assertion(connection, same, _MOST_CALLS) if same else []
    others = [d for d in found if (d.call_id, d.determination.position) != (call_id, position)]
    return _whole(connection, decision, others)


def patient_reference(written: str) -> str:
    """A patient as the log has it: "Patient/ann" of "ann" too."""
    return written if "/" in written else f"Patient/{written}"


def _whole(
    connection: Connection, decision: Decision, others: Sequence[Decision]
) -> LookedUp | None:
    call = queries.one_call(connection, decision.call_id)
    if call is None:  # pruned meanwhile
        return None
    shown = [str(card["uuid"]) for card in call.cards]
    asserted = decision.determination.assertion_id is not None
    before = queries.replaced_by_log(connection, decision) if asserted else None
    return LookedUp(
        decision=decision,
        call=call,
        others=tuple(others),
        replaces=decision.determination.replaces or before,
        replaced_by=queries.replacement(connection, decision) if asserted else None,
        said=tuple(queries.feedback_on(connection, shown, call.row.client)),
    )
