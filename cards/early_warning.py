"""The early warning: one line while ordering, with the policy's page (CRD external reference)."""

from __future__ import annotations

from collections.abc import Callable

from cards import texts
from cards.naming import fill
from cards.noncoverage import TOPIC, Noncoverage
from cards.overrides import override_reasons
from cards.topics import topic
from cards.vocabulary import Card, Link, Source, associated_resources


def early_warning_card(facts: Noncoverage, topic_system: str, new_uuid: Callable[[], str]) -> Card:
    """One line, and in the detail which order it is about and when the full answer comes.

    One link, to the policy, and nothing to do: the shape of an external reference (CRD 2.2.1
    resp-22).
    """
    policy = texts.table("phrases")["policy_link"].format(title=facts.policy_title)
    return Card(
        uuid=new_uuid(),
        summary=fill(facts.summary, facts.services),
        indicator="info",
        source=Source(label=facts.insurer, topic=topic(TOPIC, topic_system)),
        detail=texts.render("early_warning", f=facts),
        links=[Link(label=policy, url=facts.policy_url, type="absolute")],
        override_reasons=override_reasons(),
        extension=associated_resources(list(facts.references)),
    )
