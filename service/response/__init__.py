"""Response: cards and systemActions of determinations, in the requested CRD version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cards.texts import Texts
from cards.vocabulary import Action, Answer
from service.decision.coverage_assertion import replaced_assertion
from service.decision.determination import UndeterminedReason
from service.decision_log.call_record import CardShown
from service.interpreter_lock import giving_way
from service.response.coverage_information_writer import already_carried
from service.response.order_update import with_coverage_information
from service.response.response_context import Decided, ResponseContext
from service.response.shape import Shape, shape_of
from service.response.statements import Statements
from service.response.written_cards import WrittenCards

__all__ = ["Asserted", "Decided", "Reply", "Responder", "ResponseContext"]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Asserted:
    """The coverage assertion of an order: its coverage-assertion-id, and whether this answer sends
    it.

    An assertion that the order carries already is not sent again. `replaces` is the id of this
    service's older coverage information on the order.
    """

    assertion_id: str
    sent: bool
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The body of an answer as JSON, and what the decision log keeps of its cards.

    `asserted` has an entry for each decided order, None without one.
    """

    answer: bytes
    cards: tuple[CardShown, ...]
    asserted: tuple[Asserted | None, ...]


@dataclass(frozen=True, slots=True)
class Responder:
    """Writer of the answer's body, by the caller's options."""

    cards: WrittenCards
    statements: Statements
    texts: Texts

    def reply(self, decided: Sequence[Decided], to: ResponseContext) -> Reply:
        """Cards, most important first, and a systemAction for each order with new information."""
        shapes = [shape_of(item) for item in decided]
        cards = self.cards.of(decided, to, shapes)
        if to.options.hidden_card_types:
            cards = [card for card in cards if to.options.wants(card.shown.topic)]
        cards = cards[: to.options.max_cards]
        informed = to.options.coverage_info
        made = [
            self._asserted(item, to, shape)
            if informed and to.tier.states_coverage_of(item.resource.type)
            else None
            for item, shape in giving_way(zip(decided, shapes, strict=True))
        ]
        actions = [action for m in made if m is not None and (action := m[1]) is not None]
        answer = Answer(
            cards=[card.json for card in cards],
            system_actions=actions if actions or to.version.empty_system_actions else msgspec.UNSET,
        )
        return Reply(
            _encode(answer),
            tuple(card.shown for card in cards),
            tuple(m[0] if m is not None else None for m in made),
        )

    def _asserted(
        self, item: Decided, to: ResponseContext, shape: Shape | None
    ) -> tuple[Asserted, Action | None] | None:
        """The coverage assertion of an order, with its update if it is new."""
        determination = item.determination
        order = determination.order
        said = self.statements.of(item, to, shape)
        # An EHR cannot update an order without an id.
        if said is None or item.resource.id is None:
            return None
        coverage, assertion_id = said.coverage, said.assertion_id
        if determination.undetermined is UndeterminedReason.APPROVAL_TOLD and any(
            carried.coverage == coverage for carried in order.coverage_information
        ):
            return None  # what tells the approval is never overwritten
        if already_carried(order, coverage, assertion_id):
            return Asserted(assertion_id, sent=False), None
        action = Action(
            type="update",
            description=said.description,
            resource=with_coverage_information(
                item.resource, order.coverage_information, coverage, said.extension()
            ),
        )
        replaced = replaced_assertion(order, coverage, assertion_id)
        return Asserted(assertion_id, sent=True, replaces=replaced), action
