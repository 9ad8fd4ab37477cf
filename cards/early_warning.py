"""The early warning: one line while ordering, nothing to click (CRD instructions card)."""

from __future__ import annotations

from cards.naming import fill
from cards.noncoverage import TOPIC, Noncoverage
from cards.style import CardStyle
from cards.texts.templates import Template
from cards.vocabulary import Card, Source, associated_resources

DETAIL = Template("early_warning", {"f": Noncoverage})


def early_warning_card(facts: Noncoverage, style: CardStyle) -> Card:
    """One line, and in the detail which order it is about and when the full answer comes.

    No link and no suggestion, but a detail always: the shape of an instructions card (CRD 2.2.1
    resp-24).
    """
    return Card(
        uuid=style.new_uuid(),
        summary=fill(facts.summary, facts.services),
        indicator="info",
        source=Source(label=facts.insurer, topic=style.topic(TOPIC)),
        detail=style.texts.render(DETAIL, f=facts),
        override_reasons=style.override_reasons(),
        extension=associated_resources(list(facts.references)),
    )
