"""Policy statistics: calls, cards, feedback and forms by policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, func, select

from service.decision_log.feedback_rows import ACCEPTED, OVERRIDDEN
from service.decision_log.queries import TimeSpan, unreceived, within
from service.decision_log.tables import call, card, determination, feedback

OfCalls = Callable[[Any], Sequence[Any]]
"""Conditions on a column of call ids: which calls are counted."""
_AT_ONCE = 500


@dataclass(slots=True)
class PolicyStats:
    """Counts of one policy in a period; `policy_id` None: calls without a policy.

    A call that a proxy repeated counts once, by the answer that was received. A card counts by its
    last feedback. `forms_offered` are cards with a form's button, `forms_started` those with an
    accepted button.
    """

    policy_id: str | None
    calls: int = 0
    orders: int = 0
    covered: Counter[str] = field(default_factory=Counter)
    cards: int = 0
    accepted: int = 0
    overridden: Counter[str] = field(default_factory=Counter)
    forms_offered: int = 0
    forms_started: int = 0

    @property
    def unanswered(self) -> int:
        """Cards without feedback."""
        return self.cards - self.accepted - self.overridden.total()


def policy_stats(connection: Connection, span: TimeSpan) -> list[PolicyStats]:
    """The statistics of each policy in use, by id."""
    found: dict[str | None, PolicyStats] = {}

    def of(policy_id: str | None) -> PolicyStats:
        return found.setdefault(policy_id, PolicyStats(policy_id))

    def add(sign: int, of_calls: OfCalls) -> None:
        for policy_id, calls, orders in connection.execute(_calls(of_calls)):
            of(policy_id).calls += sign * calls
            of(policy_id).orders += sign * orders
        for policy_id, covered, orders in connection.execute(_answers(of_calls)):
            of(policy_id).covered[covered] += sign * orders
        for policy_id, cards, forms in connection.execute(_cards(of_calls)):
            of(policy_id).cards += sign * cards
            of(policy_id).forms_offered += sign * int(forms or 0)

    add(1, lambda call_id: within(call_id, span))
    lost = unreceived(connection, span)
    for some in _parts(sorted(lost)):
        add(-1, _among(some, span))
    for policy_id, form, outcome, reason in _last_words(connection, span, lost):
        if outcome == ACCEPTED:
            of(policy_id).accepted += 1
            of(policy_id).forms_started += form
        elif outcome == OVERRIDDEN:
            of(policy_id).overridden[reason or "(no reason)"] += 1
    counted = [s for s in found.values() if s.calls or s.cards]
    for each in counted:
        each.covered = +each.covered
    return sorted(counted, key=lambda s: (s.policy_id is None, s.policy_id or ""))


def _among(calls: Sequence[str], span: TimeSpan) -> OfCalls:
    return lambda call_id: [call_id.in_(calls), *within(call_id, span)]


def _parts(calls: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(calls), _AT_ONCE):
        yield calls[start : start + _AT_ONCE]


def _calls(of_calls: OfCalls) -> Any:
    d = determination.c
    return (
        select(d.policy_id, func.count(d.call_id.distinct()), func.count())
        .where(*of_calls(d.call_id))
        .group_by(d.policy_id)
    )


def _answers(of_calls: OfCalls) -> Any:
    d = determination.c
    return (
        select(d.policy_id, d.covered, func.count())
        .where(*of_calls(d.call_id))
        .group_by(d.policy_id, d.covered)
    )


def _cards(of_calls: OfCalls) -> Any:
    c = card.c
    return (
        select(c.policy_id, func.count(), func.sum(c.form))
        .where(*of_calls(c.call_id))
        .group_by(c.policy_id)
    )


def _last_words(
    connection: Connection, span: TimeSpan, lost: Collection[str]
) -> Iterator[tuple[str | None, int, str, str | None]]:
    """Policy, form, outcome and reason of each card's last feedback by its own client.

    Cards of `lost` calls are left out.
    """
    f = feedback.c
    said = (
        select(
            card.c.card_uuid,
            card.c.call_id,
            card.c.policy_id,
            card.c.form,
            f.outcome,
            f.reason_code,
        )
        .select_from(feedback)
        .join(card, card.c.card_uuid == f.card_uuid)
        .join(call, call.c.call_id == card.c.call_id)
        .where(*within(card.c.call_id, span), f.client == call.c.client)
        .order_by(card.c.card_uuid, f.outcome_at, f.received_at)
    )
    rows = connection.execute(said.execution_options(yield_per=1000))
    for _, of_card in groupby(rows, key=lambda row: row.card_uuid):
        *_, last = of_card
        if last.call_id not in lost:
            yield tuple(last[2:])
