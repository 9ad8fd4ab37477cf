"""Policy card: services not covered, policy and reason (CRD external reference).

It has no button, not even to cancel the order: an external reference has links and no suggestions
(CRD 2.2.1 resp-22), and only an alternate order may delete one, for the order created instead
(resp-53).
"""

from __future__ import annotations

import functools
from typing import Literal

import msgspec

from cards.naming import NamedService, fill
from cards.style import CardStyle
from cards.texts import Texts
from cards.texts.templates import Template
from cards.vocabulary import Card, Link, Source, associated_resources

TOPIC: Literal["guideline"] = "guideline"


class SearchedAuthority(msgspec.Struct, frozen=True):
    """One level of authority: `found_in` is the citation found, else the time of the search."""

    name: str
    found_in: str | None
    searched_when: str | None


class Noncoverage(msgspec.Struct, frozen=True):
    """Facts of the card. `ordered_as` are names as ordered: untrusted.

    `on_file` says of notices already given what is on file, a sentence or two each; the days in it
    are ISO. `by_records` are sentences from the payer's own records of the patient. `governs` is
    false where the authority found is not the one that will decide. `note` stands where no single
    coverage could be used. `further_links` are (label, URL) of what the advance notice needs; its
    own card can hold none. `references` are the orders' "Type/id". `settles` says that `reason`
    asks for what is missing, and what that would settle. Days are ISO dates; review dates as
    published ("2024-06").
    """

    services: tuple[NamedService, ...]
    summary: str
    statement: str
    reason: str
    authorities: tuple[SearchedAuthority, ...]
    governs: bool
    policy_title: str
    policy_url: str
    starts: str
    ends: str | None
    still_in_force: bool
    review_last: str
    review_next: str
    review_overdue: bool
    reservations: tuple[str, ...]
    ama_notice: str | None
    insurer: str
    note: str | None
    further_links: tuple[tuple[str, str], ...]
    several_orders: bool
    ordered_as: tuple[str, ...]
    references: tuple[str, ...]
    on_file: tuple[str, ...] = ()
    by_records: tuple[str, ...] = ()
    settles: bool = False
    indicator: Literal["info", "warning"] = "warning"


DETAIL = Template("noncoverage", {"f": Noncoverage, "statement": str})


def noncoverage_card(facts: Noncoverage, style: CardStyle) -> Card:
    """The card in the requested CRD version."""
    policy = style.texts.phrases.policy_link.format(title=facts.policy_title)
    return Card(
        uuid=style.new_uuid(),
        summary=fill(facts.summary, facts.services),
        indicator=facts.indicator,
        source=Source(label=facts.insurer, topic=style.topic(TOPIC)),
        detail=_detail(facts, style.texts),
        links=[
            Link(label=label, url=url, type="absolute")
            for label, url in [(policy, facts.policy_url), *facts.further_links]
        ],
        override_reasons=style.override_reasons(),
        extension=associated_resources(list(facts.references)),
    )


def _detail(facts: Noncoverage, texts: Texts) -> str:
    """Markdown; cached if it contains no patient data and no text of the order."""
    if facts.several_orders or facts.on_file or facts.by_records:
        return _written(facts, texts)
    alike = msgspec.structs.replace(facts, insurer="", ordered_as=(), references=())
    return _remembered(alike, texts)


def _written(facts: Noncoverage, texts: Texts) -> str:
    return texts.render(DETAIL, f=facts, statement=fill(facts.statement, facts.services))


_remembered = functools.lru_cache(maxsize=1024)(_written)
