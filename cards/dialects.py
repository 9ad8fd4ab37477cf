"""The versions of CRD that answers can be written in; a new one is a module and a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from cards import crd_2_0, crd_2_2
from cards.coverage_information import CoverageInformation
from cards.vocabulary import Action, Answer, Card, Coding, Json


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between versions of CRD in what is sent."""

    version: str
    topic_system: str
    doc_purpose_system: str
    coverage_information: Callable[[CoverageInformation], Json]
    task_tells_after_completion: bool
    empty_system_actions: bool

    def topic(self, code: str, display: str) -> Coding:
        """A card's source.topic (CRD 2.2.1 resp-5)."""
        return Coding(code=code, system=self.topic_system, display=display)

    def answer(self, cards: list[Card], actions: list[Action]) -> Answer:
        """The body of a 200; an empty list of systemActions as the version has it."""
        empty = not actions and not self.empty_system_actions
        return Answer(cards=cards, system_actions=msgspec.UNSET if empty else actions)


DIALECTS: Mapping[str, Dialect] = {
    module.VERSION: Dialect(
        module.VERSION,
        module.TOPIC_SYSTEM,
        module.DOC_PURPOSE_SYSTEM,
        module.coverage_information,
        module.TASK_TELLS_AFTER_COMPLETION,
        module.EMPTY_SYSTEM_ACTIONS,
    )
    for module in (crd_2_0, crd_2_2)
}
