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
    ResponseDraft,
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
