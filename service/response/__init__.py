"""Response: cards and systemActions of determinations, in the requested CRD version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from cards.texts import Texts
from cards.vocabulary import Action, Answer, Json
from service.decision.coverage_assertion import replaced_assertion
from service.decision.determination import UndeterminedReason
from service.fhir.orders import VISIT_TYPE
from service.response.card_writer import CardWriter
from service.response.coverage_information_writer import CoverageInformationWriter, already_carried
from service.response.order_update import with_coverage_information
from service.response.response_context import Decided, ResponseContext

__all__ = ["Asserted", "Decided", "Reply", "Responder", "ResponseContext"]


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
    """The body of an answer; `asserted` has an entry for each decided order, None without one."""

    answer: Answer
    asserted: tuple[Asserted | None, ...]


@dataclass(frozen=True, slots=True)
class Responder:
    """Writer of the answer's body, by the caller's options."""

    cards: CardWriter
    coverage_information: CoverageInformationWriter
    texts: Texts

    def reply(self, decided: Sequence[Decided], to: ResponseContext) -> Reply:
        """Cards, most important first, and a systemAction for each order with new information."""
        cards = self.cards.cards(decided, to)
        wanted = [c for c in cards if to.options.wants(c.source.topic.code)]
        informed = to.options.coverage_info
        made = [
            self._asserted(item, to)
            if informed and to.tier.states_coverage_of(item.resource.type)
            else None
            for item in decided
        ]
        actions = [action for m in made if m is not None and (action := m[1]) is not None]
        answer = Answer(
            cards=wanted[: to.options.max_cards],
            system_actions=actions if actions or to.version.empty_system_actions else msgspec.UNSET,
        )
        return Reply(answer, tuple(m[0] if m is not None else None for m in made))

    def _asserted(
        self, item: Decided, to: ResponseContext
    ) -> tuple[Asserted, Action | None] | None:
        """The coverage assertion of an order, with its update if it is new."""
        info = self.coverage_information.coverage_information(item.determination, to)
        # An EHR cannot update an order without an id.
        if info is None or item.resource.id is None:
            return None
        info = msgspec.structs.replace(info, dependencies=item.depends_on)
        order, assertion_id = item.determination.order, info.assertion_id
        if item.determination.undetermined is UndeterminedReason.APPROVAL_TOLD and any(
            carried.coverage == info.coverage for carried in order.coverage_information
        ):
            return None  # what tells the approval is never overwritten
        if already_carried(order, info):
            return Asserted(assertion_id, sent=False), None
        extension = to.version.coverage_information(info, self.texts.phrases.reasons)
        action = Action(
            type="update",
            description=self._said_of_update(item.resource.type, extension),
            resource=with_coverage_information(
                item.resource, order.coverage_information, info.coverage, extension
            ),
        )
        replaced = replaced_assertion(order, info.coverage, assertion_id)
        return Asserted(assertion_id, sent=True, replaces=replaced), action

    def _said_of_update(self, kind: str, extension: Json) -> str:
        """The action's description, in the words that the version has written."""
        phrases = self.texts.phrases.update
        by_type = {"Appointment": phrases.appointment, VISIT_TYPE: phrases.visit}
        parts = extension["extension"]
        covered = next(part["valueCode"] for part in parts if part["url"] == "covered")
        return by_type.get(kind, phrases.order).format(covered=covered)
