"""Prefilled response: an SDC QuestionnaireResponse in progress, for a person to complete.

It has the extensions of DTR's profile, in the version that goes with the CRD asked for, for use as
a draft in the EHR and in a DTR package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

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

UCUM = "http://unitsofmeasure.org"
_UNIT = "http://hl7.org/fhir/StructureDefinition/questionnaire-unit"
_UNIT_OPTION = "http://hl7.org/fhir/StructureDefinition/questionnaire-unitOption"

PATIENTS_BLANKS = frozenset({"G", "I", "J"})
"""Blanks of the patient, never prefilled."""


class Measured(NamedTuple):
    """A number with its unit, in UCUM."""

    number: Decimal
    unit: str


class Coded(NamedTuple):
    """A code with its system."""

    system: str
    code: str


AnswerValue = str | date | bool | Decimal | Measured | Coded
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

    `answers` are by linkId, those of a choice by code; those that are not of the item's type or
    unit are left to a person. `blanks`, by the printed letter of an item, take precedence. An item
    without either has its initial value. `purpose` is a code of CRD's documentation reasons.
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
    found = [answer for value in values if (answer := answer_of(item, value)) is not None]
    kept = list({json.dumps(answer): answer for answer in found}.values())
    if not item.get("repeats"):
        # Of a choice, one of several would be a guess; of a text, the first is the main one.
        kept = kept[:1] if item["type"] not in _CHOICES or len(kept) == 1 else []
    return [{"extension": [origin], **answer} for answer in kept]


def answer_of(item: Json, value: AnswerValue) -> Json | None:
    """The value as the item's type has it; None where it is of another type or unit, or no option
    of the item: a person writes it then.
    """
    options = item.get("answerOption", ())
    if options:
        return next((o for o in map(_option, options) if _is_chosen(o, value)), None)
    written = _WRITERS.get(item["type"])
    return written(item, value) if written is not None else None


def _option(option: Json) -> Json:
    return {name: value for name, value in option.items() if name.startswith("value")}


def _is_chosen(option: Json, value: AnswerValue) -> bool:
    for told in option.values():
        if not isinstance(told, dict):
            return bool(told == (value.isoformat() if isinstance(value, date) else value))
        if isinstance(value, Coded):
            return bool((told.get("system"), told.get("code")) == value)
        return bool(told.get("code") == value)
    return False


def _text(_: Json, value: AnswerValue) -> Json | None:
    # FHIR has no valueText: the answer to a text item is a string.
    if isinstance(value, str):
        return {"valueString": value}
    if isinstance(value, Measured):
        return {"valueString": f"{value.number} {value.unit}"}
    if isinstance(value, date):
        return {"valueString": value.isoformat()}
    return {"valueString": str(value)} if isinstance(value, Decimal) else None


def _decimal(item: Json, value: AnswerValue) -> Json | None:
    number = _number(item, value)
    return None if number is None else {"valueDecimal": float(number)}


def _integer(item: Json, value: AnswerValue) -> Json | None:
    number = _number(item, value)
    if number is None or number != int(number):
        return None
    return {"valueInteger": int(number)}


def _number(item: Json, value: AnswerValue) -> Decimal | None:
    """The number in the item's unit, where it has one."""
    if isinstance(value, Measured):
        return value.number if _fits(_units(item, _UNIT), value.unit) else None
    return value if isinstance(value, Decimal) else None


def _quantity(item: Json, value: AnswerValue) -> Json | None:
    """The number with its unit, which is one of those that the item asks for."""
    units = _units(item, _UNIT_OPTION)
    if isinstance(value, Measured) and _fits(units, value.unit):
        shown = units.get(value.unit, value.unit)
        of_unit = {"unit": shown, "system": UCUM, "code": value.unit}
        return {"valueQuantity": {"value": float(value.number), **of_unit}}
    if isinstance(value, Decimal) and not units:
        return {"valueQuantity": {"value": float(value)}}
    return None


def _units(item: Json, url: str) -> Mapping[str, str]:
    """The units of an item by their UCUM codes, as they are shown; empty where it has none."""
    found = (e["valueCoding"] for e in item.get("extension", ()) if e["url"] == url)
    return {str(unit["code"]): str(unit.get("display") or unit["code"]) for unit in found}


def _fits(units: Mapping[str, str], unit: str) -> bool:
    return not units or unit in units


def _boolean(_: Json, value: AnswerValue) -> Json | None:
    return {"valueBoolean": value} if isinstance(value, bool) else None


def _date(_: Json, value: AnswerValue) -> Json | None:
    if isinstance(value, str):
        return {"valueDate": value} if _DAY.fullmatch(value) else None
    return {"valueDate": value.isoformat()} if isinstance(value, date) else None


def _date_time(_: Json, value: AnswerValue) -> Json | None:
    return {"valueDateTime": value.isoformat()} if isinstance(value, date) else None


_CHOICES = frozenset(("choice", "open-choice"))
_DAY = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
_WRITERS: Mapping[str, Callable[[Json, AnswerValue], Json | None]] = {
    **dict.fromkeys(("string", "text", "open-choice"), _text),
    "boolean": _boolean,
    "decimal": _decimal,
    "integer": _integer,
    "quantity": _quantity,
    "date": _date,
    "dateTime": _date_time,
}
"""By type of item. A choice without options asks for a code of a value set, which is not at hand
here.
"""
