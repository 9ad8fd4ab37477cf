"""Orders that nothing can be said about: told, for silence would pass for an all-clear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cards import texts
from cards.noncoverage import TOPIC
from cards.topics import topic
from cards.vocabulary import Card, Source, associated_resources


class Unchecked(NamedTuple):
    """One order: what to call it (untrusted), and "Type/id" where it can be pointed at."""

    name: str
    reference: str | None


def not_checked_card(
    why: str,
    orders: Sequence[Unchecked],
    insurer: str,
    topic_system: str,
    new_uuid: Callable[[], str],
) -> Card:
    """An instructions card (CRD 2.2.1 resp-24) that names these orders (dev-24), one or more.

    `why` is a key of the phrases `not_checked`.
    """
    phrases = texts.table("phrases")
    said = phrases["not_checked"][why]
    count = len(orders)
    summary: str = said["one"] if count == 1 else said["several"].format(count=count)
    facts = {"detail": said["detail"], "names": [o.name for o in orders]}
    references = [o.reference for o in orders if o.reference]
    return Card(
        uuid=new_uuid(),
        summary=summary,
        indicator="info",
        source=Source(label=insurer, topic=topic(TOPIC, topic_system)),
        detail=texts.render("not_checked", f=facts),
        extension=associated_resources(references),
    )
