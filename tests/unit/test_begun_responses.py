"""A response that the payer begins: DTR's profile, and nothing in what is the patient's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse

from cards.questionnaires import Form, load_forms
from cards.questionnaires.response_draft import (
    PATIENTS_BLANKS,
    AnswerValue,
    Coded,
    Measured,
    ResponseDraft,
    answer_of,
    begun_response,
)
from service.crd.v2_0 import V2_0
from service.crd.v2_2 import V2_2
from tests.filling import answers_of, questions

DTR = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/"
CODES = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/coverage-information-codes"
CRD_TEMP = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"
FORMS = load_forms()

EVERYTHING: Mapping[str, tuple[str | date, ...]] = {
    q["linkId"]: (date(2026, 11, 20) if q["type"] == "date" else "something",)
    for form in FORMS
    for q in questions(form.resource["item"])
}
BEGUN = ResponseDraft(
    id="11111111-1111-4111-8111-111111111111",
    patient="Patient/bo",
    authored=datetime(2026, 11, 22, 15, 30, tzinfo=UTC),
    orders=("ServiceRequest/1", "ServiceRequest/2"),
    coverage="Coverage/om-bo",
    encounter="Encounter/visit-bo",
    purpose="retain-doc",
    shape=V2_2.dtr,
    answers={
        "patient-name": ("Bo Sampleson",),
        "service": ("MR spectroscopy (76390)", "not this one"),
        "service-code": ("76390", "0609T"),
        "planned-on": (date(2026, 12, 1),),
    },
    blanks={"E": "Medicare may not pay."},
)

OF_2_0 = replace(BEGUN, shape=V2_0.dtr)

each_form = pytest.mark.parametrize("form", list(FORMS), ids=lambda form: form.id)


def values(response: Mapping[str, Any], url: str) -> list[Any]:
    return [
        next(v for k, v in e.items() if k.startswith("value"))
        for e in response["extension"]
        if e["url"] == DTR + url
    ]


@pytest.mark.form_rule("dtr-response")
@each_form
def test_it_is_a_valid_response_of_the_dtr_profile(form: Form) -> None:
    response = begun_response(form, BEGUN)
    QuestionnaireResponse.model_validate(response)
    assert response["status"] == "in-progress"
    assert response["questionnaire"] == form.canonical
    assert response["subject"] == {"reference": "Patient/bo"}
    assert response["authored"] == "2026-11-22T15:30:00+00:00"
    assert values(response, "qr-coverage") == [{"reference": "Coverage/om-bo"}]
    assert [r["reference"] for r in values(response, "qr-context")] == list(BEGUN.orders)
    (use,) = values(response, "intendedUse")
    assert use["coding"] == [{"system": CODES, "code": "retain-doc"}]
    assert "basedOn" not in response
    assert "author" not in response
    (use,) = values(begun_response(form, OF_2_0), "intendedUse")
    assert use["coding"] == [{"system": CRD_TEMP, "code": "retain-doc"}]


@pytest.mark.form_rule("dtr-origin")
@each_form
def test_every_answer_tells_that_the_server_filled_it_in(form: Form) -> None:
    filled = list(answers_of(begun_response(form, replace(BEGUN, answers=EVERYTHING))["item"]))
    assert filled
    for _, answer in filled:
        (origin,) = answer["extension"]
        assert origin["url"] == DTR + "information-origin"
        # An author is for what people wrote (DTR 2.2 dtrx-1).
        assert origin["extension"] == [{"url": "source", "valueCode": "auto-server"}]


@pytest.mark.form_rule("dtr-initial")
def test_an_initial_value_stands_in_the_response_unless_the_server_knows_better() -> None:
    items = [
        {"linkId": "months", "text": "Months", "type": "integer", "initial": [{"valueInteger": 12}]}
    ]
    form = FORMS.get("abn-record")
    assert form is not None
    form = replace(form, resource={**form.resource, "item": items})

    def months(draft: ResponseDraft) -> Any:
        ((_, answer),) = answers_of(begun_response(form, draft)["item"])
        (origin,) = answer["extension"]
        assert origin["url"] == DTR + "information-origin"
        return answer["valueInteger"]

    assert months(BEGUN) == 12
    assert months(replace(BEGUN, answers={"months": (Decimal(6),)})) == 6


@pytest.mark.form_rule("crd-patients-blanks")
@each_form
def test_the_patients_own_blanks_stay_empty_whatever_the_data_say(form: Form) -> None:
    blanks = dict.fromkeys("ABCDEFGHIJ", "something")
    response = begun_response(form, replace(BEGUN, answers=EVERYTHING, blanks=blanks))
    patients = {
        q["linkId"] for q in questions(form.resource["item"]) if q.get("prefix") in PATIENTS_BLANKS
    }
    assert patients.isdisjoint(link for link, _ in answers_of(response["item"]))


def test_answers_fit_their_questions() -> None:
    form = FORMS.get("organization-determination-request")
    assert form is not None
    answers = list(answers_of(begun_response(form, BEGUN)["item"]))
    told = [(link, {k: v for k, v in a.items() if k != "extension"}) for link, a in answers]
    assert told == [
        ("patient-name", {"valueString": "Bo Sampleson"}),
        ("service", {"valueString": "MR spectroscopy (76390)"}),
        ("service-code", {"valueString": "76390"}),
        ("service-code", {"valueString": "0609T"}),
        ("planned-on", {"valueDate": "2026-12-01"}),
    ]


def test_a_notices_text_for_a_blank_is_stronger_than_an_answer() -> None:
    form = FORMS.get("abn-record")
    assert form is not None
    begun = replace(BEGUN, answers={**BEGUN.answers, "reason": ("another",)})
    answers = dict(answers_of(begun_response(form, begun)["item"]))
    assert answers["reason"]["valueString"] == "Medicare may not pay."


def test_a_choice_is_answered_by_the_coding_of_its_option_or_not_at_all() -> None:
    form = FORMS.get("organization-determination-request")
    assert form is not None
    given = {"performing-network": ("out-of-network",), "ordering-network": ("else",)}
    answers = dict(answers_of(begun_response(form, replace(BEGUN, answers=given))["item"]))
    assert answers.keys() == {"performing-network"}
    assert answers["performing-network"]["valueCoding"] == {
        "system": "https://covercard.example/fhir/CodeSystem/network-status",
        "code": "out-of-network",
        "display": "Outside the network",
    }


def test_without_a_coverage_none_is_named() -> None:
    form = FORMS.get("abn-record")
    assert form is not None
    response = begun_response(form, replace(BEGUN, coverage=None, encounter=None))
    assert values(response, "qr-coverage") == []
    assert "encounter" not in response


def test_another_purpose_is_told_as_other() -> None:
    form = FORMS.get("abn-record")
    assert form is not None
    (use,) = values(begun_response(form, replace(BEGUN, purpose="OTH")), "intendedUse")
    assert use["coding"][0]["system"] == "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"


def test_in_dtr_2_0_the_coverage_is_one_of_the_context_and_answers_are_automatic() -> None:
    (form,) = (f for f in FORMS if f.id == "abn-record")
    response = begun_response(form, OF_2_0)
    context = [
        e["valueReference"]["reference"]
        for e in response["extension"]
        if e["url"].endswith("/qr-context")
    ]
    assert context == ["ServiceRequest/1", "ServiceRequest/2", "Coverage/om-bo"]
    assert not any(e["url"].endswith("/qr-coverage") for e in response["extension"])
    assert "auto-server" not in str(response)
    assert "'valueCode': 'auto'" in str(response)


UNIT = "http://hl7.org/fhir/StructureDefinition/questionnaire-unit"
UNIT_OPTION = "http://hl7.org/fhir/StructureDefinition/questionnaire-unitOption"
UCUM = "http://unitsofmeasure.org"
SNOMED = "http://snomed.info/sct"
DAY = date(2026, 11, 20)
LOW = Decimal("54.5")


def in_units(*codes: str, url: str = UNIT_OPTION) -> Mapping[str, Any]:
    units = [{"system": UCUM, "code": code, "display": f"shown {code}"} for code in codes]
    return {"extension": [{"url": url, "valueCoding": unit} for unit in units]}


def of_options(*options: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"answerOption": list(options)}


PERCENT = in_units("%", url=UNIT)
CODED = of_options(
    {"valueCoding": {"system": SNOMED, "code": "1"}},
    {"valueCoding": {"system": "urn:x", "code": "2", "display": "Two"}},
)


def quantity(value: float, unit: str = "", shown: str = "") -> Mapping[str, Any]:
    told = {"unit": shown or unit, "system": UCUM, "code": unit} if unit else {}
    return {"valueQuantity": {"value": value, **told}}


@pytest.mark.parametrize(
    ("kind", "item", "value", "answer"),
    [
        ("quantity", {}, Measured(LOW, "mm[Hg]"), quantity(54.5, "mm[Hg]")),
        (
            *("quantity", in_units("mm[Hg]", "kPa"), Measured(LOW, "mm[Hg]")),
            quantity(54.5, "mm[Hg]", "shown mm[Hg]"),
        ),
        ("quantity", in_units("kPa"), Measured(LOW, "mm[Hg]"), None),
        ("quantity", {}, LOW, quantity(54.5)),
        ("quantity", in_units("kPa"), LOW, None),
        ("quantity", {}, "54.5 mm[Hg]", None),
        ("decimal", {}, LOW, {"valueDecimal": 54.5}),
        ("decimal", PERCENT, Measured(LOW, "%"), {"valueDecimal": 54.5}),
        ("decimal", PERCENT, Measured(LOW, "kPa"), None),
        ("decimal", {}, True, None),
        ("integer", {}, Decimal(6), {"valueInteger": 6}),
        ("integer", {}, Measured(Decimal("6.0"), "wk"), {"valueInteger": 6}),
        ("integer", {}, Decimal("6.5"), None),
        ("integer", {}, "6", None),
        ("boolean", {}, False, {"valueBoolean": False}),
        ("boolean", {}, "true", None),
        ("date", {}, DAY, {"valueDate": "2026-11-20"}),
        ("date", {}, "1950-03", {"valueDate": "1950-03"}),
        ("date", {}, "in spring", None),
        ("date", {}, LOW, None),
        ("dateTime", {}, DAY, {"valueDateTime": "2026-11-20"}),
        ("string", {}, "COPD", {"valueString": "COPD"}),
        ("string", {}, Measured(LOW, "%"), {"valueString": "54.5 %"}),
        ("text", {}, DAY, {"valueString": "2026-11-20"}),
        ("string", {}, True, None),
        ("string", {}, Coded(SNOMED, "1"), None),
        ("choice", CODED, Coded(SNOMED, "1"), {"valueCoding": {"system": SNOMED, "code": "1"}}),
        ("choice", CODED, Coded("urn:other", "1"), None),
        ("open-choice", CODED, "2", CODED["answerOption"][1]),
        ("choice", CODED, "3", None),
        ("choice", of_options({"valueString": "left"}), "left", {"valueString": "left"}),
        ("choice", of_options({"valueDate": "2026-11-20"}), DAY, {"valueDate": "2026-11-20"}),
        ("choice", {"answerValueSet": "urn:x"}, Coded(SNOMED, "1"), None),
        ("open-choice", {"answerValueSet": "urn:x"}, "another", {"valueString": "another"}),
        ("attachment", {}, "a", None),
        ("reference", {}, "Patient/1", None),
    ],
)
def test_an_answer_is_of_its_items_type_and_unit_or_left_to_a_person(
    kind: str, item: Mapping[str, Any], value: AnswerValue, answer: Mapping[str, Any] | None
) -> None:
    asked = {"linkId": "x", "text": "X", "type": kind, **item}
    assert answer_of(asked, value) == answer
    if answer is not None:
        made = {"linkId": "x", "answer": [answer]}
        QuestionnaireResponse.model_validate(
            {"resourceType": "QuestionnaireResponse", "status": "in-progress", "item": [made]}
        )


@pytest.mark.parametrize(("repeats", "number"), [(True, 2), (False, 0)])
def test_of_several_options_none_is_picked_where_one_is_asked_for(
    repeats: bool, number: int
) -> None:
    (abn,) = (f for f in FORMS if f.id == "abn-record")
    item = {"linkId": "x", "text": "X", "type": "choice", "repeats": repeats, **CODED}
    form = replace(abn, resource={**abn.resource, "item": [item]})
    answers = {"x": (Coded(SNOMED, "1"), Coded("urn:x", "2"), Coded("urn:x", "2"))}
    response = begun_response(form, replace(BEGUN, answers=answers))
    assert len(response["item"][0].get("answer", [])) == number
