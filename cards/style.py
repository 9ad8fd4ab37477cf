"""Card style: wording, CRD version and ids of a card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from cards.texts import Texts
from cards.vocabulary import Coding

OVERRIDE_REASONS = "https://covercard.example/fhir/CodeSystem/override-reason"
"""Our own code system; the name is reserved for examples and resolves nowhere."""


Topic = Literal[
    "guideline",
    "claim",
    "insurance",
    "therapy-alternatives-opt",
    "therapy-alternatives-req",
]
"""A code of CRD's card types."""


class CardStyle(NamedTuple):
    """`topic_system` is the code system of `source.topic` in the version of CRD asked for."""

    texts: Texts
    topic_system: str
    new_uuid: Callable[[], str]

    def topic(self, code: Topic) -> Coding:
        """A card's `source.topic`: what kind of card it is (CRD 2.2.1 resp-5)."""
        display = self.texts.phrases.topics.of(code)
        return Coding(code=code, system=self.topic_system, display=display)

    def override_reasons(self) -> list[Coding]:
        """The override reasons of a card (CDS Hooks 2.0, Override Reason)."""
        return [
            Coding(code=r.code, system=OVERRIDE_REASONS, display=r.display)
            for r in self.texts.phrases.override_reasons
        ]
