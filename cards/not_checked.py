"""Orders that nothing can be said about: told, for silence would pass for an all-clear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from cards import texts
from cards.dialects import Dialect
from cards.noncoverage import TOPIC
from cards.vocabulary import Card, Source, associated_resources

Why = Literal["unread", "other_patient"]


def not_checked_card(
    why: Why,
    references: Sequence[str],
    insurer: str,
    dialect: Dialect,
    new_uuid: Callable[[], str],
) -> Card:
    """An instructions card (CRD 2.2.1 resp-24) on these orders: "Type/id" each, or words instead.

    What has words instead of a reference is counted, but nothing can point at it.
    """
    phrases = texts.table("phrases")
    said = phrases["not_checked"][why]
    count = len(references)
    named = [r for r in references if "/" in r]
    summary: str = said["one"] if count == 1 else said["several"].format(count=count)
    return Card(
        uuid=new_uuid(),
        summary=summary,
        indicator="info",
        source=Source(label=insurer, topic=dialect.topic(TOPIC, phrases["topics"][TOPIC])),
        detail=said["detail"],
        extension=associated_resources(named) if named else None,
    )
