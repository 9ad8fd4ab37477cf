"""Prefilled response: an SDC QuestionnaireResponse in progress, for a person to complete.

It has the extensions of DTR's profile, in the version that goes with the CRD asked for, for use as
a draft in the EHR and in a DTR package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from cards.fhir_json import complex_part, part
from cards.questionnaires import Form
from cards.vocabulary import Json

_DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/"
PROFILE = _DTR + "dtr-questionnaireresponse"
QR_COVERAGE = _DTR + "qr-coverage"
QR_CONTEXT = _DTR + "qr-context"
INTENDED_USE = _DTR + "intendedUse"
INFORMATION_ORIGIN = _DTR + "information-origin"
NULL_FLAVOR = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"

PATIENTS_BLANKS = frozenset({"G", "I", "J"})
"""Blanks of the patient, never prefilled."""

AnswerValue = str | date | bool | Decimal
Answers = Mapping[str, Sequence[AnswerValue]]


@dataclass(frozen=True, slots=True)
class DtrShape:
    """Differences of a response between versions of DTR.

    `purpose_system` is the code system of the documentation reasons, `filled_in` the code for an
    answer that the payer filled in. `coverage_is_context` says whether the coverage is one of the
    resources of the context, or has an extension of its own.
    """

    purpose_system: str
    filled_in: str
    coverage_is_context: bool


@dataclass(frozen=True, slots=True)
class ResponseDraft:
    """Content of a prefilled response. References are "Type/id"; `authored` has a time zone.

    `answers` are by linkId, those of a choice by code; `blanks`, by the printed letter of an item,
    take precedence. An item without either has its initial value. `purpose` is a code of CRD's
    documentation reasons.
    """

    id: str
    patient: str
    authored: datetime
    orders: tuple[str, ...]
    coverage: str | None
    encounter: str | None
    purpose: str
    shape: DtrShape
    answers: Answers
    blanks: Mapping[str, str]


def begun_response(form: Form, begun: ResponseDraft) -> Json:
    """The QuestionnaireResponse, with each answer marked as filled in by the server."""
    response: Json = {
        "resourceType": "QuestionnaireResponse",
        "id": begun.id,
        "meta": {"profile": [PROFILE]},
        "extension": list(_extensions(begun)),
        "questionnaire": form.canonical,
        "status": "in-progress",
        "subject": {"reference": begun.patient},
    }
    if begun.encounter:
        response["encounter"] = {"reference": begun.encounter}
    response["authored"] = begun.authored.isoformat(timespec="seconds")
    items = form.resource.get("item", ())
    # Without any answer the first item stands there: DTR 2.0.1 wants one, and FHIR no empty list.
    response["item"] = list(_items(items, begun)) or [_bare(item) for item in items[:1]]
    return {name: value for name, value in response.items() if value != []}


def _bare(item: Json) -> Json:
    return {"linkId": item["linkId"], "text": item["text"]}


def _extensions(begun: ResponseDraft) -> Iterator[Json]:
    context = [*begun.orders]
    if begun.coverage and begun.shape.coverage_is_context:
        context.append(begun.coverage)
    elif begun.coverage:
        yield part(QR_COVERAGE, "Reference", {"reference": begun.coverage})
    for reference in context:
        yield part(QR_CONTEXT, "Reference", {"reference": reference})
    system = NULL_FLAVOR if begun.purpose == "OTH" else begun.shape.purpose_system
    coding = {"system": system, "code": begun.purpose}
    yield part(INTENDED_USE, "CodeableConcept", {"coding": [coding]})


def _items(items: Sequence[Json], begun: ResponseDraft) -> Iterator[Json]:
    """All groups, and the questions with an answer."""
    for item in items:
        made = _bare(item)
        if item["type"] == "group":
            inner = list(_items(item["item"], begun))
            yield {**made, "item": inner} if inner else made
        elif answers := _answers(item, begun):
            yield {**made, "answer": answers}


def _answers(item: Json, begun: ResponseDraft) -> list[Json]:
    prefix = item.get("prefix", "")
    if prefix in PATIENTS_BLANKS:
        return []
    values: Sequence[AnswerValue] = begun.answers.get(item["linkId"], ())
    if prefix in begun.blanks:
        values = (begun.blanks[prefix],)
    origin = complex_part(INFORMATION_ORIGIN, [part("source", "Code", begun.shape.filled_in)])
    if not values:
        # Renderers do not add these to a response that has begun.
        return [{"extension": [origin], **value} for value in item.get("initial", ())]
    kept = values if item.get("repeats") else values[:1]
    options = [o["valueCoding"] for o in item.get("answerOption", ()) if "valueCoding" in o]
    if options:
        chosen = [coding for coding in options if coding["code"] in kept]
        return [{"extension": [origin], "valueCoding": coding} for coding in chosen]
    return [{"extension": [origin], **_value(item["type"], value)} for value in kept]


def _value(kind: str, value: AnswerValue) -> Json:
    if isinstance(value, bool):
        return {"valueBoolean": value}
    if isinstance(value, Decimal):
        if kind == "integer":
            return {"valueInteger": int(value)}
        return {"valueDecimal": float(value)} if kind == "decimal" else {"valueString": str(value)}
    if isinstance(value, date):
        return {"valueDate": value.isoformat()}
    # FHIR has no valueText: the answer to a text item is a string.
    return {"valueDate" if kind == "date" else "valueString": value}
