"""Unchecked orders: silence would pass for an all-clear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cards.not_checked import Unchecked, Why
from service.decision.determination import UndeterminedReason
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
        yield (
            "other_patient",
            [Unchecked(o.name or o.reference, pointed_at(o.reference)) for o in others],
        )
