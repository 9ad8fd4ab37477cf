"""Authorization card: number, codes and end of an authorization on file (CRD instructions)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cards.brevity import Line
from cards.naming import NamedService, codes_phrase, services_phrase
from cards.noncoverage import TOPIC
from cards.style import CardStyle
from cards.untrusted import as_text
from cards.vocabulary import Card, Source, associated_resources


class AuthorizationFacts(msgspec.Struct, frozen=True):
    """Facts of the card. `number` is the payer's; `services` those that it is for, without a name
    where no policy was asked.

    `until` is an ISO day; `references` are the orders' "Type/id". `told` marks an approval that the
    order tells, and not the payer's records: then the number is untrusted, and may be empty.
    `contact` is whom to ask, in a few words.
    """

    number: str
    services: tuple[NamedService, ...]
    until: str | None
    insurer: str
    references: tuple[str, ...]
    told: bool = False
    contact: str | None = None


def _named(services: Sequence[NamedService]) -> str:
    """ "MR spectroscopy (76390)", or the codes alone."""
    codes, names = codes_phrase(services), services_phrase(services)
    return f"{names} ({codes})" if all(s.group for s in services) else codes


def authorization_card(facts: AuthorizationFacts, style: CardStyle) -> Card:
    """An instructions card (CRD 2.2.1 resp-24): no links, no buttons."""
    words = style.texts.payer
    said = words.approval_card if facts.told else words.authorization_card
    number = facts.number or words.approval_without_number
    values = {
        "services": _named(facts.services),
        "until": words.until.format(day=facts.until) if facts.until else "",
    }
    label = style.texts.phrases.labels.call
    asked = [Line(facts.contact, label).written] if facts.contact else []
    return Card(
        uuid=style.new_uuid(),
        summary=said.summary.format(number=number, **values),
        indicator="info",
        source=Source(label=facts.insurer, topic=style.topic(TOPIC)),
        detail="\n\n".join([said.detail.format(number=as_text(number), **values), *asked]),
        extension=associated_resources(list(facts.references)),
    )
