"""The early warning: one line while ordering, and at a visit also the policy's page."""

from __future__ import annotations

from cards.brevity import MORE
from cards.naming import fill
from cards.noncoverage import TOPIC, Noncoverage
from cards.style import CardStyle
from cards.texts.templates import Template
from cards.vocabulary import Card, Link, Source, associated_resources

DETAIL = Template("early_warning", {"f": Noncoverage, "more": str})


def early_warning_card(facts: Noncoverage, style: CardStyle, *, linked: bool) -> Card:
    """One line, and in the detail which order it is about and when the full answer comes.

    While ordering it has no link and no suggestion, but a detail always: the shape of an
    instructions card (CRD 2.2.1 resp-24). `linked` adds the policy, which makes it an external
    reference (resp-22): after a visit no fuller answer need come.
    """
    policy = style.texts.phrases.policy_link.format(title=facts.policy_title)
    page = Link(label=policy, url=facts.policy_url, type="absolute")
    return Card(
        uuid=style.new_uuid(),
        summary=fill(facts.summary, facts.services),
        indicator="info",
        source=Source(label=facts.insurer, topic=style.topic(TOPIC)),
        detail=style.texts.render(DETAIL, f=facts, more=MORE),
        links=[page] if linked else [],
        override_reasons=style.override_reasons(),
        extension=associated_resources(list(facts.references)),
    )
