"""The versions of CRD that answers can be written in; a new one is a module and a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cards import crd_2_0, crd_2_2
from cards.coverage_information import CoverageInformation
from cards.vocabulary import Coding, Json


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between versions of CRD in what is sent."""

    version: str
    topic_system: str
    doc_purpose_system: str
    coverage_information: Callable[[CoverageInformation], Json]

    def topic(self, code: str, display: str) -> Coding:
        """A card's source.topic (CRD 2.2.1 resp-5)."""
        return Coding(code=code, system=self.topic_system, display=display)


DIALECTS: Mapping[str, Dialect] = {
    module.VERSION: Dialect(
        module.VERSION,
        module.TOPIC_SYSTEM,
        module.DOC_PURPOSE_SYSTEM,
        module.coverage_information,
    )
    for module in (crd_2_0, crd_2_2)
}
