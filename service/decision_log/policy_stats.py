"""Policy statistics: calls, cards, feedback and forms by policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from service.decision_log.feedback_rows import ACCEPTED, OVERRIDDEN
from service.decision_log.queries import TimeSpan, within
from service.decision_log.tables import call, card, determination, feedback


@dataclass(slots=True)
class PolicyStats:
    """Counts of one policy in a period; `policy_id` None: calls without a policy.

    A card counts by its last feedback. `forms_offered` are cards with a form's button,
    `forms_started` those with an accepted button.
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

    for policy_id, calls, orders in connection.execute(_calls(span)):
        of(policy_id).calls, of(policy_id).orders = calls, orders
    for policy_id, covered, orders in connection.execute(_answers(span)):
        of(policy_id).covered[covered] = orders
    for policy_id, cards, forms in connection.execute(_cards(span)):
        of(policy_id).cards, of(policy_id).forms_offered = cards, int(forms or 0)
    for policy_id, form, outcome, reason in _last_words(connection, span):
        if outcome == ACCEPTED:
            of(policy_id).accepted += 1
            of(policy_id).forms_started += form
        elif outcome == OVERRIDDEN:
            of(policy_id).overridden[reason or "(no reason)"] += 1
    return sorted(found.values(), key=lambda s: (s.policy_id is None, s.policy_id or ""))


def _calls(span: TimeSpan) -> Any:
    d = determination.c
    return (
        select(d.policy_id, func.count(d.call_id.distinct()), func.count())
        .where(*within(d.call_id, span))
        .group_by(d.policy_id)
    )


def _answers(span: TimeSpan) -> Any:
    d = determination.c
    return (
        select(d.policy_id, d.covered, func.count())
        .where(*within(d.call_id, span))
        .group_by(d.policy_id, d.covered)
    )


def _cards(span: TimeSpan) -> Any:
    c = card.c
    return (
        select(c.policy_id, func.count(), func.sum(c.form))
        .where(*within(c.call_id, span))
        .group_by(c.policy_id)
    )


def _last_words(
    connection: Connection, span: TimeSpan
) -> Iterator[tuple[str | None, int, str, str | None]]:
    """Policy, form, outcome and reason of each card's last feedback by its own client."""
    f = feedback.c
    said = (
        select(card.c.card_uuid, card.c.policy_id, card.c.form, f.outcome, f.reason_code)
        .select_from(feedback)
        .join(card, card.c.card_uuid == f.card_uuid)
        .join(call, call.c.call_id == card.c.call_id)
        .where(*within(card.c.call_id, span), f.client == call.c.client)
        .order_by(card.c.card_uuid, f.outcome_at, f.received_at)
    )
    last: Any = None
    for row in connection.execute(said.execution_options(yield_per=1000)):
        if last is not None and last.card_uuid != row.card_uuid:
            yield tuple(last[1:])
        last = row
    if last is not None:
        yield tuple(last[1:])
