"""Card 1: what the policy says, what to do, and why (CRD external reference).

It has no button, not even to cancel the order: an external reference has links and no suggestions
(CRD 2.2.1 resp-22), and only an alternate order may delete one, for the order created instead
(resp-53).
"""

from __future__ import annotations

import functools
from typing import Literal

import msgspec

from cards.brevity import MORE, Line, at_a_glance
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

    `summary` and `lines` are templates with {services} and {codes}; the lines are what is read at a
    glance: what, do, do not, whom to call. `governs` is false where the authority found is not the
    one that will decide. `note` stands where no single coverage could be used. `further_links` are
    (label, URL) of what the advance notice needs; its own card can hold none. `references` are the
    orders' "Type/id". `of_the_patient` tells that a line is from this patient's own data.
    Days are ISO dates; review dates as published ("2024-06").
    """

    services: tuple[NamedService, ...]
    summary: str
    lines: tuple[Line, ...]
    reason: str
    authorities: tuple[SearchedAuthority, ...]
    governs: bool
    policy_title: str
    policy_url: str
    published: str
    starts: str
    ends: str | None
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
    of_the_patient: bool = False
    indicator: Literal["info", "warning"] = "warning"


DETAIL = Template(
    "noncoverage",
    {"f": Noncoverage, "glance": tuple[str, ...], "rest": tuple[str, ...], "more": str},
)


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
    """Markdown; remembered where nothing in it is of the patient's or in the orderer's words."""
    if facts.several_orders or facts.of_the_patient:
        return _written(facts, texts)
    alike = msgspec.structs.replace(facts, insurer="", ordered_as=(), references=())
    return _remembered(alike, texts)


def _written(facts: Noncoverage, texts: Texts) -> str:
    lines = [line._replace(text=fill(line.text, facts.services)) for line in facts.lines]
    glance, rest = at_a_glance(lines)
    return texts.render(DETAIL, f=facts, glance=glance, rest=rest, more=MORE)


_remembered = functools.lru_cache(maxsize=1024)(_written)
