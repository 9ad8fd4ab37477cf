"""Card on unchecked orders: silence would pass for an all-clear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cards.brevity import Line
from cards.noncoverage import TOPIC
from cards.style import CardStyle
from cards.texts.templates import Template
from cards.vocabulary import Card, Source, associated_resources


class Unchecked(NamedTuple):
    """One order: its name (untrusted), and "Type/id" if it can be referenced."""

    name: str
    reference: str | None


class _Facts(NamedTuple):
    """Facts of the detail."""

    detail: str
    names: tuple[str, ...]
    call: str


DETAIL = Template("not_checked", {"f": _Facts})


def not_checked_card(
    why: str, orders: Sequence[Unchecked], insurer: str, contact: str | None, style: CardStyle
) -> Card:
    """An instructions card (CRD 2.2.1 resp-24) that names these orders (dev-24), one or more.

    `why` is a key of the phrases `not_checked`, `contact` whom to ask, in a few words.
    """
    said = style.texts.phrases.not_checked[why]
    count = len(orders)
    call = Line(contact or "", style.texts.phrases.labels.call).written if contact else ""
    facts = _Facts(said.detail, tuple(o.name for o in orders), call)
    return Card(
        uuid=style.new_uuid(),
        summary=said.one if count == 1 else said.several.format(count=count),
        indicator="info",
        source=Source(label=insurer, topic=style.topic(TOPIC)),
        detail=style.texts.render(DETAIL, f=facts),
        extension=associated_resources([o.reference for o in orders if o.reference]),
    )
