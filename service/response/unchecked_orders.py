"""Unchecked orders: silence would pass for an all-clear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cards.not_checked import Unchecked, Why
from service.decision.determination import UndeterminedReason
from service.decision.order import Order
from service.response.card_group import pointed_at
from service.response.response_context import Decided, ResponseContext


def unchecked_orders(
    decided: Sequence[Decided], to: ResponseContext
) -> Iterator[tuple[Why, list[Unchecked]]]:
    """The orders by reason."""
    determinations = [item.determination for item in decided]
    others = [d.order for d in determinations if d.undetermined is UndeterminedReason.OTHER_PATIENT]
    if to.orders_unread:
        yield "unread", [Unchecked(label, pointed_at(label)) for label in to.orders_unread]
    if others:
        yield "other_patient", [_named(order) for order in others]


def orders_of_unknown_members(
    decided: Sequence[Decided],
) -> Iterator[tuple[Why, str, list[Unchecked]]]:
    """Each reason for which a payer does not know whom it is about: the payer's name, its orders.

    The same is said of a number that is nobody's and of one that is somebody else's.
    """
    found: dict[tuple[Why, str], list[Unchecked]] = {}
    for item in decided:
        d = item.determination
        why, coverage = _UNKNOWN.get(d.undetermined), d.finding.coverage
        if why is not None and coverage is not None and coverage.payer is not None:
            found.setdefault((why, coverage.payer.name), []).append(_named(d.order))
    for (why, insurer), orders in found.items():
        yield why, insurer, orders


_UNKNOWN: Mapping[UndeterminedReason | None, Why] = {
    UndeterminedReason.NO_MEMBER_FOUND: "no_member_found",
    UndeterminedReason.NO_MEMBER_NUMBER: "no_member_number",
    UndeterminedReason.COVERAGE_NOT_FOUND: "coverage_not_found",
}


def _named(order: Order) -> Unchecked:
    return Unchecked(order.name or order.reference, pointed_at(order.reference))
