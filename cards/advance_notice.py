"""Card 2: the advance notice for the patient, with one click to start it (form completion)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cards import texts
from cards.dialects import Dialect
from cards.naming import NamedService, fill
from cards.overrides import override_reasons
from cards.task import FormRequest, PayerReference, questionnaire_task
from cards.vocabulary import Action, Card, Link, Source, Suggestion, associated_resources

TOPIC = "claim"


@dataclass(frozen=True, slots=True)
class NoticeText:
    """One kind of notice, in the words of its file; `advice` is Markdown, a paragraph each.

    `questionnaire` is the form's canonical without a version.
    """

    title: str
    programme_label: str
    summary: str
    advice: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    button: str
    task_description: str
    task_reason: str
    after_completion: str
    questionnaire: str


@dataclass(frozen=True, slots=True)
class AdvanceNotice:
    """What the card says and what its buttons create. References are "Type/id".

    `ordered_as` are the orderer's own words: untrusted. `now` has a time zone.
    """

    notices: tuple[NoticeText, ...]
    services: tuple[NamedService, ...]
    insurer: str
    payer: PayerReference
    patient: str
    encounter: str | None
    references: tuple[str, ...]
    several_orders: bool
    ordered_as: tuple[str, ...]
    now: datetime


def advance_notice_card(
    facts: AdvanceNotice, dialect: Dialect, new_uuid: Callable[[], str]
) -> Card:
    """The card in the version of CRD asked for; every suggestion creates one Task."""
    phrases = texts.table("phrases")
    only = facts.notices[0] if len(facts.notices) == 1 else None
    summary = only.summary if only else phrases["several_notices_summary"]
    links = dict.fromkeys(link for notice in facts.notices for link in notice.links)
    filled = [
        {
            "title": n.title,
            "programme_label": n.programme_label,
            "advice": [fill(paragraph, facts.services) for paragraph in n.advice],
        }
        for n in facts.notices
    ]
    return Card(
        uuid=new_uuid(),
        summary=fill(summary, facts.services),
        indicator="warning",
        source=Source(label=facts.insurer, topic=dialect.topic(TOPIC, phrases["topics"][TOPIC])),
        detail=texts.render("advance_notice", f=facts, notices=filled),
        links=[Link(label=label, url=url, type="absolute") for label, url in links],
        suggestions=[_suggestion(facts, notice, new_uuid) for notice in facts.notices],
        selection_behavior="any" if only else "at-most-one",
        override_reasons=override_reasons(),
        extension=associated_resources(list(facts.references)),
    )


def _suggestion(
    facts: AdvanceNotice, notice: NoticeText, new_uuid: Callable[[], str]
) -> Suggestion:
    description = fill(notice.task_description, facts.services)
    task = questionnaire_task(
        FormRequest(
            questionnaire=notice.questionnaire,
            description=description,
            reason=fill(notice.task_reason, facts.services),
            after_completion=notice.after_completion,
            patient=facts.patient,
            encounter=facts.encounter,
            orders=facts.references,
            payer=facts.payer,
            authored=facts.now,
        )
    )
    action = Action(type="create", description=description, resource=task)
    return Suggestion(label=notice.button, uuid=new_uuid(), actions=[action])
