"""An authorization on file: its number, for what and until when (CRD instructions card)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from cards import texts
from cards.naming import NamedService, codes_phrase
from cards.noncoverage import TOPIC
from cards.topics import topic
from cards.untrusted import as_text
from cards.vocabulary import Card, Source, associated_resources


class AuthorizationFacts(msgspec.Struct, frozen=True):
    """What the card says. `number` is the payer's; `codes` are billing codes without their system.

    `until` is an ISO day; `references` are the orders' "Type/id".
    """

    number: str
    codes: tuple[str, ...]
    until: str | None
    insurer: str
    references: tuple[str, ...]


def authorization_card(
    facts: AuthorizationFacts, topic_system: str, new_uuid: Callable[[], str]
) -> Card:
    """An instructions card (CRD 2.2.1 resp-24): no links, no buttons."""
    words = texts.table("payer")
    said = words["authorization_card"]
    values = {
        "codes": codes_phrase([NamedService(code, "", "") for code in facts.codes]),
        "until": words["until"].format(day=facts.until) if facts.until else "",
    }
    return Card(
        uuid=new_uuid(),
        summary=said["summary"].format(number=facts.number, **values),
        indicator="info",
        source=Source(label=facts.insurer, topic=topic(TOPIC, topic_system)),
        detail=said["detail"].format(number=as_text(facts.number), **values),
        extension=associated_resources(list(facts.references)),
    )
