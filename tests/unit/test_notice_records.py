"""Forms that came back are read tolerantly, and nothing is made up for what they lack."""

from __future__ import annotations

import json
from datetime import UTC, date, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from service.decision.submitted_form import SubmittedForm
from service.fhir.document import Document, Resource
from service.fhir.questionnaire_responses import read_submitted_form, submitted_forms
from service.fhir.resources import Resources

CONTEXT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/qr-context"


def item(link: str, *values: dict[str, Any], **inner: Any) -> dict[str, Any]:
    return {"linkId": link, **({"answer": list(values)} if values else {}), **inner}


def response(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "r1",
        "questionnaire": "https://plan.example.org/fhir/Questionnaire/abn-record|1.0.0",
        "status": "completed",
        "subject": {"reference": "Patient/bo"},
        "item": list(items),
        **more,
    }


def read(data: dict[str, Any], form: str = "abn-record", zone: tzinfo = UTC) -> SubmittedForm:
    resource = Resource(data, Document(json.dumps(data).encode(), data), (), "prefetch.form")
    return read_submitted_form(resource, Resources(zone=zone), form)


def test_a_signed_form_is_read_wherever_its_answers_stand() -> None:
    record = read(
        response(
            item(
                "patient",
                item=[
                    item("refused", {"valueBoolean": False}),
                    item("option", {"valueCoding": {"code": "2"}}),
                    item("signed-by", {"valueCoding": {"code": "patient"}}),
                    item("signed-on", {"valueDate": "2026-11-20"}),
                ],
            ),
            item(
                "x", {"valueString": "y", "item": [item("service-code", {"valueString": "76390"})]}
            ),
            item("form-expires", {"valueDate": "2029-03-31"}),
            extension=[{"url": CONTEXT, "valueReference": {"reference": "ServiceRequest/1"}}],
            basedOn=[{"reference": "https://ehr.example.org/fhir/ServiceRequest/2/_history/3"}],
        )
    )
    assert record.orders == {"ServiceRequest/1", "ServiceRequest/2"}
    assert record.codes == {"76390"}
    assert (record.day, record.edition) == (date(2026, 11, 20), date(2029, 3, 31))
    assert (record.option, record.signed, record.refused) == ("2", True, False)


@pytest.mark.parametrize(
    "answers",
    [
        [{"valueString": "76390"}, {"valueString": "0609t"}],
        [{"valueString": "CPT 76390, 0609T"}],
        [{"valueString": "76390-GA; 0609T"}],
        [{"valueCoding": {"code": "76390"}}, {"valueString": " 0609T "}],
    ],
)
def test_codes_are_read_however_they_are_written(answers: list[dict[str, Any]]) -> None:
    assert {"76390", "0609T"} <= read(response(item("service-code", *answers))).codes


@pytest.mark.parametrize("written", ["2026-11", "2026", "soon", "", 20261120, None, {"a": 1}])
def test_a_day_that_is_none_is_not_guessed(written: object) -> None:
    assert read(response(item("signed-on", {"valueDate": written}))).day is None


def test_a_time_is_the_day_in_the_services_time_zone() -> None:
    answered = response(item("signed-on", {"valueDateTime": "2026-11-21T05:30:00Z"}))
    assert read(answered, zone=ZoneInfo("America/Denver")).day == date(2026, 11, 20)
    assert read(answered, zone=UTC).day == date(2026, 11, 21)


def test_a_refusal_has_its_own_day_and_needs_its_note_and_no_witness() -> None:
    refused = [
        item("refused", {"valueBoolean": True}),
        item("signed-on", {"valueDate": "2026-11-01"}),
        item("refused-on", {"valueDate": "2026-11-20"}),
    ]
    alone = read(response(*refused))
    assert (alone.refused, alone.noted, alone.day) == (True, False, date(2026, 11, 20))
    assert read(response(*refused, item("refusal-noted", {"valueBoolean": True}))).noted


@pytest.mark.parametrize(
    ("form", "link"),
    [("organization-determination-request", "sent-on"), ("abn-record", "signed-on")],
)
def test_each_form_is_dated_by_its_own_question(form: str, link: str) -> None:
    answered = response(item(link, {"valueDate": "2026-11-20"}))
    assert read(answered, form).day == date(2026, 11, 20)


@pytest.mark.parametrize(
    "broken",
    [
        {"item": None},
        {"item": "text"},
        {"item": [None, "text", {"linkId": 3, "answer": [{"valueString": "x"}]}]},
        {"item": [{"linkId": "option", "answer": [None, {}, {"valueCoding": []}]}]},
        {"subject": None, "extension": "x", "basedOn": {"reference": "ServiceRequest/1"}},
        {"subject": {"reference": 3}, "extension": [None, {"url": CONTEXT}], "status": 7},
    ],
)
def test_whatever_is_sent_is_no_error_and_no_proof(broken: dict[str, Any]) -> None:
    record = read(response(**broken) if "item" not in broken else response() | broken)
    assert record.day is None
    assert record.option is None
    assert not record.orders


def test_only_responses_to_our_forms_are_taken() -> None:
    resources = Resources()
    for i, canonical in enumerate(("ours|1", "theirs", None, 5)):
        data = response() | {"id": f"r{i}", "questionnaire": canonical}
        document = Document(json.dumps(data).encode(), data)
        resources.add(Resource(data, document, (), "prefetch"))
    ids = {"ours|1": "abn-record"}
    (found,) = submitted_forms(resources, ids.get)
    assert found.reference == "QuestionnaireResponse/r0"
