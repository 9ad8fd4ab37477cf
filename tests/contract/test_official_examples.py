"""The guides' own examples are answered without error, and come back as they were."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import Json, answer, orders_of, received
from tests.contract.guides import crd_2_0, crd_2_2_example, needs_crd_2_0, needs_crd_2_2

ORDERS = (
    "CommunicationRequest",
    "DeviceRequest",
    "MedicationRequest",
    "NutritionOrder",
    "ServiceRequest",
    "VisionPrescription",
)


def example(resource_type: str) -> Json:
    """CRD 2.0.1's plain example of a resource type."""
    found = [
        e
        for e in crd_2_0().examples
        if e["resourceType"] == resource_type and e["id"] != "annotated-example"
    ]
    (only,) = found
    return dict(only)


def bundle(*resources: Json) -> Json:
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": f"http://example.org/fhir/{r['resourceType']}/{r['id']}", "resource": r}
            for r in resources
        ],
    }


def request(hook: str, **context: Any) -> Json:
    """A call about the guide's example patient, with what the guide's examples hold on her."""
    return {
        "hook": hook,
        "hookInstance": str(uuid.UUID(int=1)),
        "context": {
            "userId": "Practitioner/example",
            "patientId": "example",
            "encounterId": "example",
            **context,
        },
        "prefetch": {
            "patient": example("Patient"),
            "encounter": example("Encounter"),
            "coverage": bundle(example("Coverage")),
            "others": bundle(*(example(t) for t in ("Practitioner", "Organization", "Location"))),
            "devices": bundle(example("Device")),
        },
    }


@needs_crd_2_2
@pytest.mark.requirement("crd-2.2.1:resp-43")
def test_the_official_request_is_answered_and_its_orders_come_back(client: FlaskClient) -> None:
    official = crd_2_2_example("CRDServiceRequest")
    answered = answer(client, official)
    check_answer(answered)
    assert answered["cards"] == []
    ids = [order["id"] for order in orders_of(official)]
    assert [a["resource"]["id"] for a in answered.get("systemActions", [])] == ids
    # Its payer can be told by its FHIR server only, which nobody has allowed here.
    for statement in stated(answered):
        assert parts(statement, "covered") == ["indeterminate"]
        (reason,) = parts(statement, "reason")
        assert [c["code"] for c in reason["coding"]] == ["technical"]


@needs_crd_2_2
@pytest.mark.requirement("crd-2.2.1:billopt-3")
def test_the_official_request_keeps_all_its_billing_options_in_the_answer(
    client: FlaskClient,
) -> None:
    official = crd_2_2_example("CRDServiceRequest")
    first, _ = stated(answer(client, official))
    codes = [c["code"] for c in parts(first, "billingCode")]
    assert {"77061", "77062", "77065", "77066"} <= set(codes)


@needs_crd_2_2
def test_the_official_request_in_2_2_lacks_only_a_payer_that_is_ours(client: FlaskClient) -> None:
    official = crd_2_2_example("CRDServiceRequest")
    del official["fhirServer"], official["fhirAuthorization"]
    reply = client.post("/cds-services/order-sign-crd", json=official)
    assert reply.status_code == 400
    (issue,) = reply.get_json()["issue"]
    assert issue["expression"] == ["prefetch.coverage.entry[0].resource"]
    (coverage,) = (e["resource"] for e in official["prefetch"]["coverage"]["entry"])
    coverage["payor"][0]["identifier"] = {
        "system": "http://example.org/payers",
        "value": "example-health-plan",
    }
    answered = answer(client, official)
    check_answer(answered)
    assert len(answered.get("systemActions", [])) == len(orders_of(official))


@needs_crd_2_0
@pytest.mark.requirement("crd-2.0.1:153", "crd-2.2.1:hook-4")
@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("hook", ["order-sign", "order-select"])
def test_an_example_order_of_each_type_is_answered_and_comes_back_unchanged(
    client: FlaskClient, hook: str, kind: str
) -> None:
    order = example(kind)
    context: Json = {"draftOrders": bundle(order)}
    if hook == "order-select":
        context["selections"] = [f"{kind}/{order['id']}"]
    call = request(hook, **context)
    # The example's coverage ended in 2012; with it nothing would be looked up at all.
    del call["prefetch"]["coverage"]["entry"][0]["resource"]["period"]
    answered = answer(client, call)
    check_answer(answered)
    (action,) = answered.get("systemActions", [])
    updated = dict(action["resource"])
    extensions = updated.pop("extension")
    original = dict(received(call, action["resource"]))
    assert extensions[:-1] == original.pop("extension", [])
    assert updated == original


@needs_crd_2_0
def test_the_example_appointment_is_answered_for_the_order_that_it_is_based_on(
    client: FlaskClient,
) -> None:
    call = request("appointment-book", appointments=bundle(example("Appointment")))
    call["prefetch"]["serviceRequests"] = bundle(example("ServiceRequest"))
    answered = answer(client, call)
    check_answer(answered)
    (action,) = answered.get("systemActions", [])
    assert action["resource"]["resourceType"] == "ServiceRequest"


@needs_crd_2_0
@pytest.mark.parametrize("kind", ORDERS)
def test_an_example_order_can_be_dispatched(client: FlaskClient, kind: str) -> None:
    order = example(kind)
    call = request("order-dispatch", dispatchedOrders=[f"{kind}/{order['id']}"])
    call["prefetch"]["orders"] = bundle(order)
    answered = answer(client, call)
    check_answer(answered)
    assert [a["resource"]["id"] for a in answered.get("systemActions", [])] == [order["id"]]


@needs_crd_2_0
@pytest.mark.parametrize("hook", ["encounter-start", "encounter-discharge"])
def test_the_example_encounter_begins_and_ends_in_silence(client: FlaskClient, hook: str) -> None:
    assert answer(client, request(hook)) == {"cards": [], "systemActions": []}


@needs_crd_2_0
@pytest.mark.requirement("crd-2.2.1:resp-32", "crd-2.0.1:264")
def test_the_example_of_an_annotated_order_keeps_what_others_stated(client: FlaskClient) -> None:
    (annotated,) = (e for e in crd_2_0().examples if e["id"] == "annotated-example")
    # The example is of no patient that the guide has: here it is the example patient's.
    order = {**annotated, "subject": {"reference": "Patient/example"}}
    call = request("order-sign", draftOrders=bundle(order))
    coverage = call["prefetch"]["coverage"]["entry"][0]["resource"]
    coverage["id"] = "another"
    coverage.pop("period")
    (action,) = answer(client, call).get("systemActions", [])
    (theirs,) = annotated["extension"]
    first, ours = action["resource"]["extension"]
    assert first == theirs
    assert parts(ours, "coverage") == [{"reference": "Coverage/another"}]
    assert parts(ours, "coverage-assertion-id") != parts(theirs, "coverage-assertion-id")
