"""Coverage corrections: the EHR's Coverage by the payer's records, offered and never done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo

import msgspec

from cards.offer_kinds import Button, Offer, offer_card
from cards.style import CardStyle, Topic
from cards.vocabulary import Action, Card
from service.decision.determination import Determination
from service.decision.payer_finding import PayerOutcome
from service.fhir.dates import period_range
from service.fhir.document import Resource
from service.response.response_context import Decided, ResponseContext
from service.response.response_links import ResponseLinks

TOPIC: Topic = "insurance"
_HOOKS = frozenset({"appointment-book", "encounter-discharge", "encounter-start", "order-dispatch"})
"""Where administrative staff are likely to see it (CRD 2.2.1 resp-70)."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class CoverageCorrections:
    """Writer of the card that offers a Coverage with the days that the payer's records know."""

    links: ResponseLinks

    def may_be_for(self, to: ResponseContext) -> bool:
        """Whether the call's hook is one of those that coverages are corrected in."""
        return to.hook in _HOOKS

    def of(
        self, decided: Sequence[Decided], to: ResponseContext, style: CardStyle
    ) -> Iterator[Card]:
        """One card for each coverage whose days differ."""
        if not self.may_be_for(to):
            return
        seen: set[str] = set()
        for item in decided:
            d = item.determination
            coverage = to.coverages.get(d.coverage.reference) if d.coverage else None
            if coverage is None or coverage.id is None or coverage.reference in seen:
                continue
            seen.add(coverage.reference)
            corrected = _corrected(coverage, d, to.now.tzinfo)
            if corrected is not None:
                yield self._card(coverage, corrected, d, style)

    def _card(
        self,
        coverage: Resource,
        corrected: dict[str, msgspec.Raw],
        d: Determination,
        style: CardStyle,
    ) -> Card:
        words = style.texts.phrases.coverage_correction
        action = Action(type="update", description=words.action, resource=corrected)
        offer = Offer(
            summary=words.summary,
            detail=words.detail,
            topic=TOPIC,
            services=(),
            insurer=self.links.insurer(d),
            references=(coverage.reference,),
        )
        buttons = [Button(words.button, (action,))]
        return offer_card(offer, style, buttons=buttons)


def _corrected(
    coverage: Resource, d: Determination, zone: tzinfo | None
) -> dict[str, msgspec.Raw] | None:
    """The Coverage as it came, its period by the records; None where nothing differs."""
    known = d.payer
    if known is None or known.outcome is not PayerOutcome.KNOWN:
        return None
    told = period_range(coverage.data.get("period"), zone)
    starts, ends = known.starts or told[0], known.ends or told[1]
    if (starts, ends) == told:
        return None
    days = {"start": starts, "end": ends}
    period = {name: _iso(day) for name, day in days.items() if day is not None}
    return {**coverage.compact_members(), "period": msgspec.Raw(_encode(period))}


def _iso(day: date) -> str:
    return day.isoformat()
