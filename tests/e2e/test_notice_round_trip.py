"""The whole way of a notice over HTTP: card, Task, form filled in, order signed again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse

from tests.conftest import fixture_text
from tests.contract.answer_rules import check_answer, parts, stated
from tests.e2e.conftest import Guarded
from tests.e2e.readers import is_in_the_rows
from tests.e2e.servers import ROOT, Server
from tests.filling import answers_of, completed

Json = dict[str, Any]

SIGNED_ON = datetime.now(UTC).date() - timedelta(days=2)
"""By the service's own clock: a form that was signed too long ago counts no more."""


def request_of(name: str) -> Json:
    path = ROOT / "fhir_fixtures" / "order-sign" / f"{name}.json"
    read: Json = json.loads(fixture_text(path, datetime.now(UTC).date()))
    return read


def sign(server: Server, request: Json) -> Json:
    reply = server.post("/cds-services/order-sign-crd", json=request)
    assert reply.status_code == 200, reply.text
    answer: Json = reply.json()
    check_answer(answer)
    return answer


def topics(answer: Json) -> list[str]:
    return [c["source"]["topic"]["code"] for c in answer["cards"]]


def clicked(answer: Json) -> Json:
    """The Task that the first button of the notice card creates."""
    action = answer["cards"][-1]["suggestions"][0]["actions"][-1]
    assert action["resource"]["resourceType"] == "Task"
    task: Json = action["resource"]
    return task


def form_of(server: Server, task: Json) -> Json:
    """What the front desk opens: the form that the Task names, found by its canonical."""
    (canonical,) = [i["valueCanonical"] for i in task["input"] if "valueCanonical" in i]
    reply = server.get(f"/fhir/Questionnaire?url={canonical}")
    assert reply.status_code == 200
    (entry,) = reply.json()["entry"]
    form: Json = entry["resource"]
    assert form["url"] == canonical
    return form


def begun_by_the_payer(server: Server, request: Json, order: Json) -> Json:
    """What a DTR client gets for the order: the response that the payer has begun."""
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]
    given = [
        {"name": "coverage", "resource": coverage},
        {"name": "order", "resource": order},
        {"name": "referenced", "resource": request["prefetch"]["patient"]},
    ]
    reply = server.post(
        "/fhir/Questionnaire/$questionnaire-package",
        json={"resourceType": "Parameters", "parameter": given},
    )
    assert reply.status_code == 200, reply.text
    (bundle,) = [p["resource"] for p in reply.json()["parameter"] if p["name"] == "packagebundle"]
    begun: Json = bundle["entry"][1]["resource"]
    return begun


@pytest.mark.form_rule("crd-round-trip")
@pytest.mark.requirement("crd-2.2.1:found-4", "crd-2.2.1:resp-39")
def test_an_abn_goes_from_card_to_form_to_the_order_and_is_not_asked_for_again(
    server: Server,
) -> None:
    request = request_of("mrs-original-medicare")
    first = sign(server, request)
    assert topics(first) == ["guideline", "claim"]
    order = first.get("systemActions", [])[0]["resource"]

    task = clicked(first)
    form = form_of(server, task)
    (before,) = stated(first)
    assert parts(before, "questionnaire") == [f"{form['url']}|{form['version']}"]
    begun = begun_by_the_payer(server, request, order)
    signed = completed(
        form,
        begun,
        form_expires="2029-03-31",
        cost_estimate=850,
        refused=False,
        option="1",
        signed_by="patient",
        signed_on=SIGNED_ON.isoformat(),
        explained_by="Rae Example, front desk",
        copy_given=True,
    )
    QuestionnaireResponse.model_validate(signed)
    assert signed["subject"]["reference"] == task["for"]["reference"]

    request["context"]["draftOrders"]["entry"][0]["resource"] = order
    request["prefetch"]["forms"] = {"resourceType": "Bundle", "entry": [{"resource": signed}]}
    second = sign(server, request)
    assert topics(second) == ["guideline"]
    assert "A signed ABN (CMS-R-131)" in second["cards"][0]["detail"]
    (after,) = stated(second)
    assert parts(after, "doc-needed") == []
    assert parts(after, "questionnaire") == []
    named = {parts(d, "code")[0].get("text"): parts(d, "value")[0] for d in parts(after, "detail")}
    assert named["notice-on-file"] == f"QuestionnaireResponse/{signed['id']}"
    assert named["claim-modifier"] == "GA"

    updated = second.get("systemActions", [])[0]["resource"]
    request["context"]["draftOrders"]["entry"][0]["resource"] = updated
    assert sign(server, request).get("systemActions", []) == []


@pytest.mark.parametrize(
    ("lacking", "because"),
    [
        ({"form_expires": "2026-01-31"}, "an edition that was valid that day"),
        ({"service_code": "70551"}, "all services of the order"),
        ({"signed_on": "2099-01-01"}, "its day is still to come"),
    ],
)
def test_an_abn_that_does_not_count_is_asked_for_again_and_the_card_says_why(
    server: Server, lacking: Json, because: str
) -> None:
    request = request_of("mrs-original-medicare")
    first = sign(server, request)
    order = first.get("systemActions", [])[0]["resource"]
    answers: Json = {
        "form_expires": "2029-03-31",
        "cost_estimate": 850,
        "refused": False,
        "option": "2",
        "signed_by": "representative",
        "signed_on": SIGNED_ON.isoformat(),
        "explained_by": "Rae Example, front desk",
    }
    form, begun = form_of(server, clicked(first)), begun_by_the_payer(server, request, order)
    request["context"]["draftOrders"]["entry"][0]["resource"] = order
    request["prefetch"]["forms"] = completed(form, begun, **{**answers, **lacking})
    second = sign(server, request)
    assert topics(second) == ["guideline", "claim"]
    (why,) = (p for p in second["cards"][1]["detail"].split("\n\n") if "does not count:**" in p)
    assert because in why
    assert clicked(second)["input"] == clicked(first)["input"]

    request["prefetch"]["forms"] = completed(form, begun, **answers)
    third = sign(server, request)
    assert topics(third) == ["guideline"]
    assert "Option 2: the patient wants the service and pays for it" in third["cards"][0]["detail"]
    (after,) = stated(third)
    named = {parts(d, "code")[0].get("text") for d in parts(after, "detail")}
    assert "notice-on-file" in named
    assert "claim-modifier" not in named


def test_a_request_to_the_plan_goes_the_same_way(server: Server) -> None:
    request = request_of("mrs-medicare-advantage")
    first = sign(server, request)
    order = first.get("systemActions", [])[0]["resource"]
    sent = completed(
        form_of(server, clicked(first)),
        begun_by_the_payer(server, request, order),
        plan="Example Health Plan",
        requested_by="treating-provider",
        requester_name="Dr. Quill Exemplar",
        kind="standard",
        supporting_notes="The scan would decide on surgery.",
        sent_on=SIGNED_ON.isoformat(),
    )
    request["context"]["draftOrders"]["entry"][0]["resource"] = order
    request["prefetch"]["forms"] = sent
    second = sign(server, request)
    assert topics(second) == ["guideline"]
    assert f"The plan was asked on {SIGNED_ON}" in second["cards"][0]["detail"]
    (after,) = stated(second)
    assert parts(after, "covered") == ["not-covered"]
    assert parts(after, "doc-needed") == []


def test_the_assertion_id_of_an_answer_brings_its_form_without_the_order(server: Server) -> None:
    request = request_of("mrs-original-medicare")
    (statement,) = stated(sign(server, request))
    (assertion_id,) = parts(statement, "coverage-assertion-id")
    is_in_the_rows(server)
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "coverage", "resource": coverage},
            {"name": "context", "valueString": assertion_id},
        ],
    }
    reply = server.post("/fhir/Questionnaire/$questionnaire-package", json=body)
    assert reply.status_code == 200, reply.text
    (package,) = [p["resource"] for p in reply.json()["parameter"]]
    begun = package["entry"][1]["resource"]
    answers = {link: answer["valueString"] for link, answer in answers_of(begun["item"])}
    assert answers["patient-name"] == "Bo Sampleson"
    assert answers["service-code"] == "76390"


def test_the_forms_are_open_and_the_package_is_for_clients(guarded: Guarded) -> None:
    server = guarded.server
    assert server.get("/fhir/Questionnaire").status_code == 200
    assert server.get("/fhir/Questionnaire/abn-record").status_code == 200
    request = request_of("mrs-original-medicare")
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]
    form = {
        "name": "questionnaire",
        "valueCanonical": "https://covercard.example/fhir/Questionnaire/abn-record",
    }
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "coverage", "resource": coverage}, form],
    }
    operation = "/fhir/Questionnaire/$questionnaire-package"
    refused = server.post(operation, json=body)
    assert refused.status_code == 401
    assert refused.json()["resourceType"] == "OperationOutcome"
    token = guarded.clinic.token(server.base + operation)
    answered = server.post(operation, json=body, headers={"Authorization": f"Bearer {token}"})
    assert answered.status_code == 200, answered.text
    assert answered.json()["resourceType"] == "Parameters"
