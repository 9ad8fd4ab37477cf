"""A policy's code is found wherever an order of any CRD type keeps it."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import Json, answer, call_of

MRS = {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "76390"}]}
OTHER = {"coding": [{"system": "http://snomed.info/sct", "code": "183"}]}
PAYLOAD_CODE = (
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-CommunicationRequest.payload.content"
)
BILLING = "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-billing-options"
SUBJECT = {"subject": {"reference": "Patient/ann"}}
PATIENT = {"patient": {"reference": "Patient/ann"}}
INNER: dict[str, Json] = {
    "Device": {"resourceType": "Device", "id": "inner", "type": MRS},
    "Medication": {"resourceType": "Medication", "id": "inner", "code": MRS},
    "Procedure": {"resourceType": "Procedure", "id": "inner", "status": "preparation", "code": MRS},
}
REFERENCE = {"reference": "#inner"}
OF_ANN = [{"actor": {"reference": "Patient/ann"}, "status": "accepted"}]

KEPT: dict[str, tuple[str, Json]] = {
    "a service request's code": ("ServiceRequest", {**SUBJECT, "code": MRS}),
    "a service request's billing options": (
        "ServiceRequest",
        {
            **SUBJECT,
            "code": OTHER | {"extension": [{"url": BILLING, "valueCodeableConcept": MRS}]},
        },
    ),
    "a device request's code": ("DeviceRequest", {**SUBJECT, "codeCodeableConcept": MRS}),
    "a device's type": (
        "DeviceRequest",
        {**SUBJECT, "contained": [INNER["Device"]], "codeReference": REFERENCE},
    ),
    "a medication request's code": (
        "MedicationRequest",
        {**SUBJECT, "medicationCodeableConcept": MRS},
    ),
    "a medication's code": (
        "MedicationRequest",
        {**SUBJECT, "contained": [INNER["Medication"]], "medicationReference": REFERENCE},
    ),
    "a diet": ("NutritionOrder", {**PATIENT, "oralDiet": {"type": [OTHER, MRS]}}),
    "a supplement": ("NutritionOrder", {**PATIENT, "supplement": [{"type": MRS}]}),
    "a formula": ("NutritionOrder", {**PATIENT, "enteralFormula": {"baseFormulaType": MRS}}),
    "an additive": ("NutritionOrder", {**PATIENT, "enteralFormula": {"additiveType": MRS}}),
    "a lens": ("VisionPrescription", {**PATIENT, "lensSpecification": [{"product": MRS}]}),
    "a communication's category": ("CommunicationRequest", {**SUBJECT, "category": [MRS]}),
    "a communication's payload": (
        "CommunicationRequest",
        {
            **SUBJECT,
            "category": [OTHER],
            "payload": [
                {"extension": [{"url": "urn:x", "valueCodeableConcept": OTHER}]},
                {"extension": [{"url": PAYLOAD_CODE, "valueCodeableConcept": MRS}]},
            ],
        },
    ),
    "a communication's payload, by the extension's other URL": (
        "CommunicationRequest",
        {
            **SUBJECT,
            "category": [OTHER],
            "payload": [
                {"extension": [{"url": f"{PAYLOAD_CODE}[x]", "valueCodeableConcept": MRS}]},
            ],
        },
    ),
}
BOOKED: dict[str, Json] = {
    "an appointment's service type": {"serviceType": [OTHER, MRS]},
    "the procedure behind an appointment": {
        "contained": [INNER["Procedure"]],
        "reasonReference": [{"reference": "Condition/tumor"}, REFERENCE],
    },
}


def coded(answered: Json) -> list[Any]:
    """The billing codes of the one statement, which says not covered."""
    check_answer(answered)
    (statement,) = stated(answered)
    assert parts(statement, "covered") == ["not-covered"]
    assert "76390" in answered["cards"][0]["summary"]
    return [c["code"] for c in parts(statement, "billingCode")]


@pytest.mark.requirement("crd-2.2.1:hook-4", "crd-2.2.1:conf-4")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize("where", KEPT)
def test_the_code_of_an_order_is_found_in(client: FlaskClient, where: str, version: str) -> None:
    kind, elements = KEPT[where]
    request = call_of("order-sign/mrs-medicare-advantage", version)
    (entry,) = request["context"]["draftOrders"]["entry"]
    entry["resource"] = {"resourceType": kind, "id": "order", "status": "draft", **elements}
    assert coded(answer(client, request)) == ["76390"]


@pytest.mark.requirement("crd-2.2.1:hook-4", "crd-2.2.1:conf-4")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize("where", BOOKED)
def test_the_code_of_what_is_booked_is_found_in(
    client: FlaskClient, where: str, version: str
) -> None:
    request = call_of("appointment-book/mrs-appointment", version)
    (entry,) = request["context"]["appointments"]["entry"]
    entry["resource"] = {
        "resourceType": "Appointment",
        "id": "slot",
        "status": "proposed",
        "start": "2026-12-01T09:00:00Z",
        "end": "2026-12-01T10:00:00Z",
        "participant": OF_ANN,
        **BOOKED[where],
    }
    assert coded(answer(client, request)) == ["76390"]


@pytest.mark.requirement("crd-2.2.1:conf-4")
@pytest.mark.parametrize(
    ("periods", "covered"),
    [
        ([{"start": "2026-12-01", "end": "2026-12-02"}], "not-covered"),
        # Before the policy's first day, or on either side of it: no day is picked.
        ([{"start": "2023-09-01", "end": "2023-09-02"}], "conditional"),
        (
            [
                {"start": "2023-10-05", "end": "2023-10-06"},
                {"start": "2023-09-20", "end": "2023-09-21"},
            ],
            "conditional",
        ),
    ],
)
def test_a_slot_without_a_start_is_looked_up_for_the_periods_asked_for(
    client: FlaskClient, periods: list[Json], covered: str
) -> None:
    request = call_of("appointment-book/mrs-appointment")
    (entry,) = request["context"]["appointments"]["entry"]
    for gone in ("start", "end"):
        entry["resource"].pop(gone, None)
    entry["resource"]["requestedPeriod"] = periods
    (coverage, *_) = (e["resource"] for e in request["prefetch"]["coverage"]["entry"])
    coverage["period"] = {"start": "2020-01-01"}
    (statement,) = stated(answer(client, request))
    assert parts(statement, "covered") == [covered]
    assert not any("Assumed" in r["text"] for r in parts(statement, "reason"))


@pytest.mark.parametrize("value", [[{"resourceType": "Patient"}], "Patient/ann", 3, True])
def test_what_is_no_resource_in_prefetch_is_refused_with_what_is_expected(
    client: FlaskClient, value: object
) -> None:
    request = call_of("order-sign/mrs-medicare-advantage")
    request["prefetch"]["patient"] = value
    reply = client.post("/cds-services/order-sign-crd", json=request)
    assert reply.status_code == 422
    (issue,) = reply.get_json()["issue"]
    assert issue["diagnostics"] == "prefetch.patient: expected an object or null"
