"""Cards that offer something: other orders, an app, a form, instructions, a corrected coverage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

import msgspec

from cards.naming import NamedService, fill
from cards.style import CardStyle, Topic
from cards.vocabulary import Action, Card, Link, Source, Suggestion, associated_resources


class Offer(msgspec.Struct, frozen=True):
    """Common facts of these cards; `summary` and `detail` are templates of the policy.

    `topic` is a code of CRD's card types, `references` are the orders' "Type/id".
    """

    summary: str
    detail: str
    topic: Topic
    services: tuple[NamedService, ...]
    insurer: str
    references: tuple[str, ...]


class Button(msgspec.Struct, frozen=True):
    """One suggestion: its words, and what a click does."""

    label: str
    actions: tuple[Action, ...]


class Launch(msgspec.Struct, frozen=True):
    """A SMART app's launch; the context is handed to the app as text.

    `done` are the words of a suggestion that stands beside the link and does nothing, None where
    the version of CRD wants none.
    """

    label: str
    done: str | None
    url: str
    orders: tuple[str, ...]
    coverage: str | None
    questionnaires: tuple[str, ...]

    @property
    def context(self) -> str:
        """The orders, the coverage and the forms that the launch is about, as JSON."""
        told: dict[str, object] = {"order": [*self.orders]}
        if self.coverage:
            told["coverage"] = self.coverage
        if self.questionnaires:
            told["questionnaire"] = [*self.questionnaires]
        return json.dumps({name: value for name, value in told.items() if value})


def offer_card(
    offer: Offer,
    style: CardStyle,
    *,
    buttons: Sequence[Button] = (),
    choose: Literal["at-most-one", "any"] = "any",
    launch: Launch | None = None,
    pages: Sequence[tuple[str, str]] = (),
) -> Card:
    """The card: with buttons, with an app's link, with (label, URL) of pages, or with none of them
    (an instructions card)."""
    links = [Link(label=label, url=url, type="absolute") for label, url in pages]
    if launch is not None:
        app = Link(label=launch.label, url=launch.url, type="smart", app_context=launch.context)
        links.append(app)
    suggestions = [
        Suggestion(label=b.label, uuid=style.new_uuid(), actions=[*b.actions]) for b in buttons
    ]
    if launch is not None and launch.done:
        suggestions.append(Suggestion(label=launch.done, uuid=style.new_uuid()))
    return Card(
        uuid=style.new_uuid(),
        summary=fill(offer.summary, offer.services),
        indicator="info",
        source=Source(label=offer.insurer, topic=style.topic(offer.topic)),
        detail=fill(offer.detail, offer.services),
        links=links,
        suggestions=suggestions,
        selection_behavior=choose if suggestions else None,
        extension=associated_resources(list(offer.references)),
    )
