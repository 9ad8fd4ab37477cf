"""Submitted forms (QuestionnaireResponse), read as the decision's `SubmittedForm`.

Their acceptance is decided elsewhere. An answer of an unexpected type is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import date, tzinfo
from functools import cache
from typing import Any

from cards.coverage_information.reader import read_coverage_information
from service.decision.submitted_form import SubmittedForm
from service.fhir.dates import day_range
from service.fhir.document import Resource
from service.fhir.resources import Resources
from service.interpreter_lock import giving_way

QR_CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"

DATED_BY: Mapping[str, str] = {
    "abn-record": "signed-on",
    "organization-determination-request": "sent-on",
}
"""The linkId of each form's decisive day."""

SERVICE_CODE, FORM_EXPIRES, OPTION, SIGNED_BY = (
    "service-code",
    "form-expires",
    "option",
    "signed-by",
)
REFUSED, REFUSED_ON, REFUSAL_NOTED = "refused", "refused-on", "refusal-noted"

_WORDS = re.compile(r"[A-Z0-9]+")

Answers = Mapping[str, list[Any]]


def form_canonical(data: Mapping[str, Any]) -> str | None:
    """The canonical of a response's form; of an adaptive one, that which it is derived from."""
    named = data.get("questionnaire")
    if not isinstance(named, str) or not named.startswith("#"):
        return named if isinstance(named, str) else None
    contained = data.get("contained")
    for resource in contained if isinstance(contained, list) else ():
        if isinstance(resource, Mapping) and f"#{resource.get('id')}" == named:
            derived = resource.get("derivedFrom")
            first = derived[0] if isinstance(derived, list) and derived else resource.get("url")
            return first if isinstance(first, str) else None
    return None


def submitted_forms(
    resources: Resources,
    form_of: Callable[[str], str | None],
    required_in: Callable[[str], Collection[str]] = lambda _form: (),
) -> tuple[SubmittedForm, ...]:
    """The present responses to this service's forms.

    `form_of` maps a canonical to a form id, `required_in` this to the linkIds of its required
    questions.
    """
    found: list[SubmittedForm] = []
    required_of = cache(required_in)  # a call may hold hundreds of responses to one form
    for resource in giving_way(resources.of_type("QuestionnaireResponse")):
        canonical = form_canonical(resource.data)
        form = form_of(canonical) if canonical is not None else None
        if form is not None:
            # An adaptive form is complete with what it asked.
            whole = canonical == resource.data.get("questionnaire")
            required = required_of(form) if whole else ()
            found.append(read_submitted_form(resource, resources, form, required))
    return tuple(found)


def read_submitted_form(
    resource: Resource, resources: Resources, form: str, required: Collection[str] = ()
) -> SubmittedForm:
    """One response to the form with this id; `required` are the linkIds that need an answer."""
    data, zone = resource.data, resources.zone
    answers = answers_of(data)
    refused = _first(answers, REFUSED) is True
    status = data.get("status")
    return SubmittedForm(
        reference=resource.reference,
        form=form,
        status=status if isinstance(status, str) else None,
        patient=next(_local(data.get("subject"), resources), None),
        orders=orders_of(data, resources),
        codes=frozenset(c for v in answers.get(SERVICE_CODE, ()) for c in _codes(v)),
        day=_day(_first(answers, REFUSED_ON if refused else DATED_BY.get(form, "")), zone),
        edition=_day(_first(answers, FORM_EXPIRES), zone),
        option=_code(_first(answers, OPTION)),
        signed=_code(_first(answers, SIGNED_BY)) is not None,
        refused=refused,
        noted=_first(answers, REFUSAL_NOTED) is True,
        is_open=any(link_id not in answers for link_id in required),
    )


def answers_of(data: Mapping[str, Any]) -> Answers:
    """A response's answers by linkId, in the order in which they stand."""
    answers: dict[str, list[Any]] = {}
    for link_id, value in _answers(data.get("item")):
        answers.setdefault(link_id, []).append(value)
    return answers


def named_by(order: Mapping[str, Any]) -> Iterator[str]:
    """References of the responses that an order names: as supporting information, or in its
    coverage information (CRD 2.0.1, `response`).
    """
    for element in _SUPPORTING:
        written = order.get(element)
        for item in written if isinstance(written, list) else ():
            reference = item.get("reference") if isinstance(item, Mapping) else None
            if isinstance(reference, str) and "QuestionnaireResponse/" in reference:
                yield reference.strip()
    for info in read_coverage_information(order):
        yield from (part.text for part in info.parts if part.url == "response" and part.text)


_SUPPORTING = ("supportingInfo", "supportingInformation")
"""Of ServiceRequest, DeviceRequest and others; of MedicationRequest and Appointment."""


def orders_of(data: Mapping[str, Any], resources: Resources) -> frozenset[str]:
    """The orders that a response says it is for, as "Type/id"."""
    return frozenset(_orders(data, resources))


def _orders(data: Mapping[str, Any], resources: Resources) -> Iterator[str]:
    extensions = data.get("extension")
    for extension in extensions if isinstance(extensions, list) else ():
        if isinstance(extension, Mapping) and extension.get("url") == QR_CONTEXT:
            yield from _local(extension.get("valueReference"), resources)
    based_on = data.get("basedOn")
    for reference in based_on if isinstance(based_on, list) else ():
        yield from _local(reference, resources)


def _local(reference: object, resources: Resources) -> Iterator[str]:
    written = reference.get("reference") if isinstance(reference, Mapping) else None
    if isinstance(written, str) and written.strip():
        yield resources.local(written)


def _answers(items: object) -> Iterator[tuple[str, Any]]:
    """(linkId, value) of all answers, including those of nested items."""
    pending = [items]
    while pending:
        level = pending.pop()
        for item in level if isinstance(level, list) else ():
            if not isinstance(item, Mapping):
                continue
            pending.append(item.get("item"))
            link_id, answers = item.get("linkId"), item.get("answer")
            for answer in answers if isinstance(answers, list) else ():
                if isinstance(answer, Mapping):
                    pending.append(answer.get("item"))
                    value = next((v for k, v in answer.items() if k.startswith("value")), None)
                    if isinstance(link_id, str) and value is not None:
                        yield link_id, value


def _first(answers: Answers, link_id: str) -> Any:
    values = answers.get(link_id)
    return values[0] if values else None


def _day(value: object, zone: tzinfo) -> date | None:
    """The day of a date or dateTime; None for a month or a year."""
    days = day_range(value, zone)
    return days[0] if days and days[0] == days[1] else None


def _code(value: object) -> str | None:
    code = value.get("code") if isinstance(value, Mapping) else value
    return code.strip() if isinstance(code, str) and code.strip() else None


def _codes(value: object) -> Iterator[str]:
    """The billing codes in an answer, also as "CPT 76390" or several in one line."""
    code = _code(value)
    if code:
        yield from _WORDS.findall(code.upper())
