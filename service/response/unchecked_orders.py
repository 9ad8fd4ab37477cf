"""Unchecked orders: those without coverage information and without a card.

A primary hook answers for every order in scope (CRD 2.2.1 hook-16, CRD 2.0.1 statement 164):
without an update of the chart, a card gives the reason. Silence would pass for an all-clear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cards.not_checked import Unchecked
from service.crd.cds_service import HookTier
from service.decision.coverage import CoverageOutcome
from service.decision.determination import Determination, UndeterminedReason
from service.decision.order import Order
from service.response.card_group import pointed_at
from service.response.response_context import Decided, ResponseContext


def unchecked_orders(
    decided: Sequence[Decided], with_a_card: Sequence[Decided], to: ResponseContext
) -> Iterator[tuple[str, list[Unchecked]]]:
    """The orders by reason, a key of the phrases `not_checked`.

    `with_a_card` are the orders with a card on their policy.
    """
    reasons: dict[str, list[Unchecked]] = {}
    if to.orders_unread:
        reasons["unread"] = [Unchecked(label, pointed_at(label)) for label in to.orders_unread]
    for item in decided:
        why = _why(item, item in with_a_card, to.tier)
        if why is not None:
            reasons.setdefault(why, []).append(_named(item.determination.order))
    yield from reasons.items()


def _why(item: Decided, has_a_card: bool, tier: HookTier) -> str | None:
    determination, finding = item.determination, item.determination.finding
    if determination.undetermined is UndeterminedReason.OTHER_PATIENT:
        return "other_patient"
    if has_a_card or tier is not HookTier.PRIMARY or _unknown_member(item) is not None:
        return None
    if finding.coverage is None or not finding.coverage.can_be_pointed_at:
        found = finding.outcome is CoverageOutcome.FOUND
        return "coverage_unnamed" if found else f"coverage_{finding.outcome.value}"
    return None if item.resource.id else "no_id"


def orders_of_unknown_members(
    decided: Sequence[Decided],
) -> Iterator[tuple[str, Determination, list[Unchecked]]]:
    """(reason, a determination under the payer, orders) of unknown members.

    An unknown number and another person's number have the same reason.
    """
    found: dict[tuple[str, str], list[Determination]] = {}
    for item in decided:
        key = _unknown_member(item)
        if key is not None:
            found.setdefault(key, []).append(item.determination)
    for (why, _), determinations in found.items():
        yield why, determinations[0], [_named(d.order) for d in determinations]


def _unknown_member(item: Decided) -> tuple[str, str] | None:
    why = _UNKNOWN.get(item.determination.undetermined)
    coverage = item.determination.finding.coverage
    if why is None or coverage is None or coverage.payer is None:
        return None
    return why, coverage.payer.name


_UNKNOWN: Mapping[UndeterminedReason | None, str] = {
    UndeterminedReason.NO_MEMBER_FOUND: "no_member_found",
    UndeterminedReason.NO_MEMBER_NUMBER: "no_member_number",
    UndeterminedReason.COVERAGE_NOT_FOUND: "coverage_not_found",
}


def _named(order: Order) -> Unchecked:
    return Unchecked(order.name or order.reference, pointed_at(order.reference))
