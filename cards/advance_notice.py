"""Notice card: the advance notice for the patient, with buttons for its forms (form completion).

It has no `links`: CRD 2.2.1 resp-65 forbids them on a form completion card, and a card with both
would be classified as an external reference. The form's page is linked in its detail and, for
clients that show no links there (resp-10), on the policy card.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from cards.brevity import MORE, Line, at_a_glance
from cards.form_completion import form_completion
from cards.naming import NamedService, fill
from cards.questionnaires import Form
from cards.style import CardStyle
from cards.task import FormRequest, PayerReference
from cards.texts import Texts
from cards.texts.templates import Template
from cards.vocabulary import Card, Json, Source, Suggestion, associated_resources

TOPIC: Literal["claim"] = "claim"


class FormText(msgspec.Struct, frozen=True):
    """A form with its button.

    `questionnaire` is the form's canonical without a version. `form` is the Questionnaire to
    create, `response` the prefilled response to create; each None if the EHR does not get it.
    """

    button: str
    description: str
    reason: str
    after_completion: str | None
    questionnaire: str
    form: Form | None = None
    response: Json | None = None


class NoticeText(msgspec.Struct, frozen=True):
    """One kind of notice, in the words of its file.

    `instruction` is the notice in one sentence, for a card on several. `warnings` go before all
    else; `lines` are what is read at a glance, `advice` is Markdown for after it, a paragraph each.
    All but the warnings are templates with {services} and {codes}.
    """

    title: str
    program_label: str
    summary: str
    instruction: str
    warnings: tuple[str, ...]
    lines: tuple[Line, ...]
    advice: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    forms: tuple[FormText, ...]


class AdvanceNotice(msgspec.Struct, frozen=True):
    """Facts of the notice card. References are "Type/id".

    `program_known` is False where the plan that pays tells which notice is right, also of one that
    is left. `ordered_as` are names as ordered: untrusted. `now` has a time zone.
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
    program_known: bool = True

    @property
    def only(self) -> NoticeText | None:
        """The notice, where it is certain which one is right."""
        return self.notices[0] if self.program_known and len(self.notices) == 1 else None


def advance_notice_card(facts: AdvanceNotice, style: CardStyle) -> Card:
    """The card in the requested CRD version; each suggestion creates exactly one Task."""
    only = facts.only
    summary = only.summary if only else style.texts.phrases.several_notices_summary
    # Of several notices one is right: their own forms only, so that one choice is enough.
    button = style.texts.phrases.button_of_program
    forms = only.forms if only else tuple(_of_program(n, button) for n in facts.notices if n.forms)
    suggestions = [_suggestion(facts, form, style) for form in forms]
    return Card(
        uuid=style.new_uuid(),
        summary=fill(summary, facts.services),
        # Steps; the warning of a cost is on the policy card (resp-2).
        indicator="info",
        source=Source(label=facts.insurer, topic=style.topic(TOPIC)),
        detail=_detail(facts, style.texts, has_button=bool(suggestions)),
        suggestions=suggestions,
        selection_behavior=("any" if only else "at-most-one") if suggestions else None,
        override_reasons=style.override_reasons(),
        extension=associated_resources(list(facts.references)),
    )


def _of_program(notice: NoticeText, button: str) -> FormText:
    """The notice's own form, its button beginning with the program."""
    form = notice.forms[0]
    label = form.button[:1].lower() + form.button[1:]
    label = button.format(program=notice.program_label, label=label)
    return msgspec.structs.replace(form, button=label)


class _Advice(NamedTuple):
    """The text of one notice."""

    title: str
    program_label: str
    instruction: str
    warnings: tuple[str, ...]
    lines: tuple[Line, ...]
    advice: tuple[str, ...]
    links: tuple[tuple[str, str], ...]


def _detail(facts: AdvanceNotice, texts: Texts, *, has_button: bool) -> str:
    """Markdown; remembered where the orderer's own words are not in it."""
    services = facts.services
    notices = tuple(
        _Advice(
            n.title,
            n.program_label,
            fill(n.instruction, services),
            n.warnings,
            tuple(line._replace(text=fill(line.text, services)) for line in n.lines),
            tuple(fill(paragraph, services) for paragraph in n.advice),
            n.links,
        )
        for n in facts.notices
    )
    alone = facts.only is not None
    if facts.several_orders:
        return _written(texts, notices, alone, has_button, facts)
    return _remembered(texts, notices, alone, has_button)


DETAIL = Template(
    "advance_notice",
    {
        "f": AdvanceNotice | None,
        "notices": tuple[_Advice, ...],
        "alone": bool,
        "has_button": bool,
        "glance": tuple[str, ...],
        "rest": tuple[str, ...],
        "more": str,
    },
)


def _written(
    texts: Texts,
    notices: tuple[_Advice, ...],
    alone: bool,
    has_button: bool,
    among_others: AdvanceNotice | None = None,
) -> str:
    glance, rest = at_a_glance(_lines(notices, alone))
    return texts.render(
        DETAIL,
        f=among_others,
        notices=notices,
        alone=alone,
        has_button=has_button,
        glance=glance,
        rest=rest,
        more=MORE,
    )


def _lines(notices: tuple[_Advice, ...], alone: bool) -> Iterator[Line]:
    """The warnings and the lines of the only notice; of several the instruction of each one."""
    for notice in notices:
        yield from (Line(warning, keep=_FIRST) for warning in notice.warnings)
    if alone:
        yield from notices[0].lines
        return
    for notice in notices:
        yield Line(notice.instruction, notice.program_label, keep=_FIRST - 1)


_FIRST = 9
"""Before every other line, see `cards.brevity`."""

_remembered = functools.lru_cache(maxsize=1024)(_written)


def _suggestion(facts: AdvanceNotice, form: FormText, style: CardStyle) -> Suggestion:
    """The suggestion of one button."""
    request = FormRequest(
        id=style.new_uuid(),
        questionnaire=form.questionnaire,
        description=fill(form.description, facts.services),
        reason=fill(form.reason, facts.services),
        after_completion=form.after_completion,
        patient=facts.patient,
        encounter=facts.encounter,
        orders=facts.references,
        payer=facts.payer,
        authored=facts.now,
    )
    actions = [*form_completion(request, form.form, form.response, style.texts.phrases)]
    return Suggestion(label=form.button, uuid=style.new_uuid(), actions=actions)
