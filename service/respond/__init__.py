"""Determinations → cards and systemActions, in the version of CRD asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cards import texts
from cards.dialects import DIALECTS
from cards.vocabulary import Action, Answer
from service.respond.addressee import Addressee, Decided
from service.respond.cards import CardWriter
from service.respond.statements import StatementWriter, already_stated
from service.respond.update import with_statement

__all__ = ["Addressee", "Decided", "Responder"]


@dataclass(frozen=True, slots=True)
class Responder:
    """Writes the body of an answer, as the caller's options want it."""

    cards: CardWriter
    statements: StatementWriter

    def answer(self, decided: Sequence[Decided], to: Addressee) -> Answer:
        """Cards, most important first, and one systemAction for each order with something new."""
        cards = self.cards.cards(decided, to)
        wanted = [c for c in cards if to.options.wants(c.source.topic.code)]
        stated = to.answering.states_coverage and to.options.coverage_info
        actions = list(self._actions(decided, to)) if stated else []
        return Answer(cards=wanted[: to.options.max_cards], system_actions=actions)

    def _actions(self, decided: Sequence[Decided], to: Addressee) -> Iterator[Action]:
        dialect = DIALECTS[to.version]
        description = texts.table("phrases")["update_order"]
        for item in decided:
            statement = self.statements.statement(item.determination, to)
            # Without an id there is nothing that an EHR could update.
            if statement is None or item.resource.id is None:
                continue
            if not already_stated(item.determination.order, statement):
                extension = dialect.coverage_information(statement)
                yield Action(
                    type="update",
                    description=description.format(covered=statement.covered),
                    resource=with_statement(item.resource, statement.coverage, extension),
                )
