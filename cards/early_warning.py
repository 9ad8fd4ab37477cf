"""The early warning: one line while ordering, with the policy's page (CRD external reference)."""

from __future__ import annotations

from cards.naming import fill
from cards.noncoverage import TOPIC, Noncoverage
from cards.style import CardStyle
from cards.texts.templates import Template
from cards.vocabulary import Card, Link, Source, associated_resources

DETAIL = Template("early_warning", {"f": Noncoverage})


def early_warning_card(facts: Noncoverage, style: CardStyle) -> Card:
    """One line, and in the detail which order it is about and when the full answer comes.

    One link, to the policy, and nothing to do: the shape of an external reference (CRD 2.2.1
    resp-22).
    """
    policy = style.texts.phrases.policy_link.format(title=facts.policy_title)
    return Card(
        uuid=style.new_uuid(),
        summary=fill(facts.summary, facts.services),
        indicator="info",
        source=Source(label=facts.insurer, topic=style.topic(TOPIC)),
        detail=style.texts.render(DETAIL, f=facts),
        links=[Link(label=policy, url=facts.policy_url, type="absolute")],
        override_reasons=style.override_reasons(),
        extension=associated_resources(list(facts.references)),
    )
