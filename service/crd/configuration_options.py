"""Configuration options, in discovery and in requests (CRD 2.2.1 dev-4 to dev-17).

Unknown and invalid options are ignored; no call fails because of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.crd.cds_service import HookTier

COVERAGE_INFO = "coverage-info"
GUIDELINE = "guideline"
CLAIM = "claim"
MAX_CARDS = "max-cards"
DEFAULT_MAX_CARDS = 10

_COVERAGE_INFO: Mapping[str, object] = {
    "code": COVERAGE_INFO,
    "type": "boolean",
    "name": "Coverage information",
    "description": "Adds the coverage decision to each order, for systems to read.",
    "default": True,
}
_GUIDELINE: Mapping[str, object] = {
    "code": GUIDELINE,
    "type": "boolean",
    "name": "Coverage policies",
    "description": "Shows a card when a service is not covered, with the medical policy.",
    "default": True,
}
_CLAIM: Mapping[str, object] = {
    "code": CLAIM,
    "type": "boolean",
    "name": "Advance notices",
    "description": "Shows a card that helps to tell the patient in advance about the cost.",
    "default": True,
}
_MAX_CARDS: Mapping[str, object] = {
    "code": MAX_CARDS,
    "type": "integer",
    "name": "Maximum cards",
    "description": "Limits the number of cards; the most important ones come first.",
    "default": DEFAULT_MAX_CARDS,
}

OFFERED: Mapping[HookTier, tuple[Mapping[str, object], ...]] = {
    HookTier.PRIMARY: (_COVERAGE_INFO, _GUIDELINE, _CLAIM, _MAX_CARDS),
    HookTier.EARLY: (_COVERAGE_INFO, _GUIDELINE, _MAX_CARDS),
    HookTier.SECONDARY: (_COVERAGE_INFO, _GUIDELINE, _MAX_CARDS),
}
"""Options by tier: one for each type of its answer (CRD 2.2.1 dev-5)."""

_CARD_TYPES = frozenset({GUIDELINE, CLAIM})


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a call."""

    coverage_info: bool = True
    hidden_card_types: frozenset[str] = frozenset()
    max_cards: int = DEFAULT_MAX_CARDS

    def wants(self, card_type: str) -> bool:
        return card_type not in self.hidden_card_types


def read_options(configuration: object) -> Options:
    """Options from a request's `davinci-crd.configuration`; an invalid one keeps its default."""
    if not isinstance(configuration, Mapping):
        return Options()
    maximum = configuration.get(MAX_CARDS)
    valid = isinstance(maximum, int) and not isinstance(maximum, bool) and maximum >= 0
    return Options(
        coverage_info=configuration.get(COVERAGE_INFO) is not False,
        hidden_card_types=frozenset(t for t in _CARD_TYPES if configuration.get(t) is False),
        max_cards=maximum if valid and isinstance(maximum, int) else DEFAULT_MAX_CARDS,
    )
