"""Facts that a policy declares of completed forms: the answer to an item of a questionnaire."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from service.decision.facts import Fact, FactKind, FactSource, FactSpec, Value, Why
from service.decision.submitted_form import SubmittedForm, objections_to_any_form
from service.fhir.dates import day_range
from service.fhir.document import Resource
from service.fhir.elements import text
from service.fhir.fact_readers.at_hand import OrderAtHand
from service.fhir.fact_readers.care_facts import is_too_old
from service.fhir.fact_readers.data_types import decimal, measured
from service.fhir.questionnaire_responses import (
    Answers,
    answers_of,
    form_canonical,
    named_by,
    read_submitted_form,
)
from service.fhir.systems import code_of


def answer(at: OrderAtHand, spec: FactSpec, source: FactSource) -> Fact:
    newest: tuple[str, Fact] | None = None
    named = {at.resources.local(r) for r in named_by(at.resource.data)}
    for response in at.resources.of_type("QuestionnaireResponse"):
        data = response.data
        canonical = form_canonical(data)
        form = at.form_of(canonical) if canonical is not None else None
        if form is None or form != source.questionnaire:
            continue
        record = _record(response, form, at)
        if any(objections_to_any_form(record, at.order.reference, at.patient, named)):
            continue
        authored = day_range(data.get("authored"), at.resources.zone)
        if authored is not None and is_too_old(authored, source, at):
            continue
        values = _answers_of(response, at).get(source.link_id or "", [])
        written = text(data.get("authored")) or ""
        if newest is None or written >= newest[0]:
            place = f"{response.place}.item[linkId={source.link_id}]"
            newest = written, answered(spec, values, place, at.resources.zone)
    if newest is not None:
        return newest[1]
    unread = "QuestionnaireResponse" in at.unreachable
    return Fact(why=Why.NOT_REACHABLE if unread else Why.NOT_TOLD, because="the form is not back")


def _record(response: Resource, form: str, at: OrderAtHand) -> SubmittedForm:
    resources = at.resources
    key = ("submitted form", response.reference)
    return resources.once(key, lambda: read_submitted_form(response, resources, form))


def _answers_of(response: Resource, at: OrderAtHand) -> Answers:
    return at.resources.once(("answers", response.reference), lambda: answers_of(response.data))


def answered(spec: FactSpec, values: list[Any], place: str, zone: tzinfo) -> Fact:
    """The fact that an item's answers tell; `place` is the item's in the request, `zone` the
    service's time zone.
    """
    if not values:
        return Fact(why=Why.NOT_TOLD, places=(place,), because="the form leaves it open")
    value = _answer_value(spec, values, zone)
    if value is None:
        return Fact(why=Why.NOT_READABLE, places=(place,))
    return Fact(value, (place,))


def _answer_value(spec: FactSpec, values: list[Any], zone: tzinfo) -> Value | None:
    first = values[0]
    if spec.kind is FactKind.CODES:
        codes = [c for v in values if isinstance(v, dict) and (c := code_of(v))]
        return frozenset(codes) if len(codes) == len(values) else None
    if spec.kind is FactKind.FLAG:
        return first if isinstance(first, bool) else None
    if spec.kind is FactKind.CHOICE:
        return text(first.get("code")) if isinstance(first, dict) else text(first)
    if spec.kind is FactKind.DAY:
        days = day_range(first, zone)
        return days[0] if days and days[0] == days[1] else None
    if isinstance(first, dict):
        return measured(first, spec.unit or "1", "").value
    return decimal(first)
