"""Configuration options, in discovery and in requests (CRD 2.2.1 dev-4 to dev-17).

Unknown and invalid options are ignored; no call fails because of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

COVERAGE_INFO = "coverage-info"
GUIDELINE = "guideline"
CLAIM = "claim"
INSURANCE = "insurance"
ALTERNATIVES = "therapy-alternatives-opt"
TRIED_FIRST = "therapy-alternatives-req"
MAX_CARDS = "max-cards"
DEFAULT_MAX_CARDS = 10

_COVERAGE_INFO: Mapping[str, object] = {
    "code": COVERAGE_INFO,
    "type": "boolean",
    "name": "Coverage information",
    "description": "Adds coverage information to each order, for systems to read.",
    "default": True,
}
_GUIDELINE: Mapping[str, object] = {
    "code": GUIDELINE,
    "type": "boolean",
    "name": "Coverage policies",
    "description": "Shows a card when a service is not covered, and what its policy advises.",
    "default": True,
}
_CLAIM: Mapping[str, object] = {
    "code": CLAIM,
    "type": "boolean",
    "name": "Notices and forms",
    "description": "Shows cards for the patient's advance notice and for forms to be filled in.",
    "default": True,
}
_INSURANCE: Mapping[str, object] = {
    "code": INSURANCE,
    "type": "boolean",
    "name": "Coverage corrections",
    "description": "Shows a card when the payer's records know other days of the coverage.",
    "default": True,
}
_ALTERNATIVES: Mapping[str, object] = {
    "code": ALTERNATIVES,
    "type": "boolean",
    "name": "Alternatives",
    "description": "Shows a card when the policy names another service that may do.",
    "default": True,
}
_TRIED_FIRST: Mapping[str, object] = {
    "code": TRIED_FIRST,
    "type": "boolean",
    "name": "Alternatives to be tried first",
    "description": "Shows a card when the policy wants another service tried before.",
    "default": True,
}
_MAX_CARDS: Mapping[str, object] = {
    "code": MAX_CARDS,
    "type": "integer",
    "name": "Maximum cards",
    "description": "Limits the number of cards; the most important ones come first.",
    "default": DEFAULT_MAX_CARDS,
}

_EVERYWHERE = (_COVERAGE_INFO, _GUIDELINE, _CLAIM)
_OTHERWISE = (_ALTERNATIVES, _TRIED_FIRST)

OFFERED: Mapping[str, tuple[Mapping[str, object], ...]] = {
    "appointment-book": (*_EVERYWHERE, _INSURANCE, _MAX_CARDS),
    "encounter-discharge": (*_EVERYWHERE, _INSURANCE, _MAX_CARDS),
    "encounter-start": (*_EVERYWHERE, _INSURANCE, _MAX_CARDS),
    "order-dispatch": (*_EVERYWHERE, _INSURANCE, _MAX_CARDS),
    "order-select": (*_EVERYWHERE, *_OTHERWISE, _MAX_CARDS),
    "order-sign": (*_EVERYWHERE, *_OTHERWISE, _MAX_CARDS),
}
"""One option for each kind of answer that a hook can give (CRD 2.2.1 dev-5), by hook."""

_CARD_TYPES = frozenset({GUIDELINE, CLAIM, INSURANCE, ALTERNATIVES, TRIED_FIRST})


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
    if not isinstance(configuration, dict):
        return Options()
    maximum = configuration.get(MAX_CARDS)
    valid = isinstance(maximum, int) and not isinstance(maximum, bool) and maximum >= 0
    return Options(
        coverage_info=configuration.get(COVERAGE_INFO) is not False,
        hidden_card_types=frozenset(t for t in _CARD_TYPES if configuration.get(t) is False),
        max_cards=maximum if valid and isinstance(maximum, int) else DEFAULT_MAX_CARDS,
    )
