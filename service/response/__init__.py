"""Determinations → cards and systemActions, in the version of CRD asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cards import texts
from cards.dialects import DIALECTS
from cards.vocabulary import Action, Answer
from service.decision.coverage_assertion import replaced_assertion
from service.response.card_writer import CardWriter
from service.response.coverage_information_writer import CoverageInformationWriter, already_stated
from service.response.order_update import with_statement
from service.response.response_context import Decided, ResponseContext

__all__ = ["Asserted", "Decided", "Reply", "Responder", "ResponseContext"]


@dataclass(frozen=True, slots=True)
class Asserted:
    """What is asserted of one order: the statement's id, and whether it goes out with this answer.

    One that the order carries already is not sent again. `replaces` is the id of our older
    statement that the order came with.
    """

    assertion_id: str
    sent: bool
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The body of an answer; `asserted` has one for each order decided, None where none is made."""

    answer: Answer
    asserted: tuple[Asserted | None, ...]


@dataclass(frozen=True, slots=True)
class Responder:
    """Writes the body of an answer, as the caller's options want it."""

    cards: CardWriter
    statements: CoverageInformationWriter

    def reply(self, decided: Sequence[Decided], to: ResponseContext) -> Reply:
        """Cards, most important first, and one systemAction for each order with something new."""
        cards = self.cards.cards(decided, to)
        wanted = [c for c in cards if to.options.wants(c.source.topic.code)]
        stated = to.tier.states_coverage and to.options.coverage_info
        made = [self._stated(item, to) if stated else None for item in decided]
        actions = [action for m in made if m is not None and (action := m[1]) is not None]
        answer = DIALECTS[to.version].answer(wanted[: to.options.max_cards], actions)
        return Reply(answer, tuple(m[0] if m is not None else None for m in made))

    def _stated(self, item: Decided, to: ResponseContext) -> tuple[Asserted, Action | None] | None:
        """What is asserted of an order, and the update that says so where it is new."""
        statement = self.statements.statement(item.determination, to)
        # Without an id there is nothing that an EHR could update.
        if statement is None or item.resource.id is None:
            return None
        order, assertion_id = item.determination.order, statement.assertion_id
        if already_stated(order, statement):
            return Asserted(assertion_id, sent=False), None
        extension = DIALECTS[to.version].coverage_information(statement)
        action = Action(
            type="update",
            description=texts.table("phrases")["update_order"].format(covered=statement.covered),
            resource=with_statement(item.resource, order.statements, statement.coverage, extension),
        )
        replaced = replaced_assertion(order, statement.coverage, assertion_id)
        return Asserted(assertion_id, sent=True, replaces=replaced), action
