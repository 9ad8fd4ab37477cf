"""Odd but legal calls: nothing is said in another's name, of a guess, or by a name nobody knows."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import parts, stated
from tests.contract.calls import Json, answer, call_of, coverage_of

MA = "order-sign/mrs-medicare-advantage"
OUR_INSURER = "Example Health Plan"
EMERGENCY = {
    "resourceType": "Encounter",
    "id": "er",
    "status": "in-progress",
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "EMER"},
    "subject": {"reference": "Patient/ann"},
}


def alone(name: str, version: str = "2.0") -> Json:
    """A call of which nothing can be fetched."""
    request = call_of(name, version)
    request.pop("fhirServer", None)
    request.pop("fhirAuthorization", None)
    return request


def order_of(request: Json) -> Json:
    order: Json = request["context"]["draftOrders"]["entry"][0]["resource"]
    return order


def topics(answered: Json) -> list[str]:
    return [card["source"]["topic"]["code"] for card in answered["cards"]]


@pytest.mark.requirement("crd-2.2.1:resp-4")
def test_an_insurer_that_is_not_ours_says_nothing(client: FlaskClient) -> None:
    request = alone(MA)
    coverage_of(request)["payor"] = [{"display": "Other Insurance"}]
    answered = answer(client, request)
    assert {c["source"]["label"] for c in answered["cards"]} == {OUR_INSURER}
    assert "The insurance does not identify its payer" in answered["cards"][0]["detail"]


@pytest.mark.parametrize("ended", [False, True])
def test_of_another_payers_coverage_nothing_is_stated_active_or_not(
    client: FlaskClient, ended: bool
) -> None:
    request = alone(MA)
    identifier = {"system": "http://example.org/payers", "value": "somebody-else"}
    coverage_of(request)["payor"] = [{"identifier": identifier, "display": "Other Insurance"}]
    if ended:
        coverage_of(request)["period"] = {"start": "2020-01-01", "end": "2024-12-31"}
    answered = answer(client, request)
    (statement,) = stated(answered)
    assert parts(statement, "covered") == ["conditional"]
    assert answered["cards"] == []


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_a_coverage_without_an_id_is_not_pointed_at(client: FlaskClient, version: str) -> None:
    request = alone(MA, version)
    coverage_of(request).pop("id")
    request["prefetch"]["coverage"]["entry"][0].pop("fullUrl", None)
    order_of(request).pop("insurance", None)
    answered = answer(client, request)
    assert topics(answered) == ["guideline", "claim"]
    assert answered.get("systemActions", []) == []


def test_an_order_without_an_id_is_not_pointed_at(client: FlaskClient) -> None:
    request = alone(MA)
    order_of(request).pop("id")
    request["context"]["draftOrders"]["entry"][0].pop("fullUrl", None)
    answered = answer(client, request)
    assert topics(answered) == ["guideline", "claim"]
    assert all("extension" not in card for card in answered["cards"])
    tasks = [
        action["resource"]
        for card in answered["cards"]
        for suggestion in card.get("suggestions", [])
        for action in suggestion["actions"]
    ]
    assert tasks
    assert all("basedOn" not in task for task in tasks)


def test_the_orders_own_encounter_tells_emergency_care(client: FlaskClient) -> None:
    request = alone(MA)
    request["context"].pop("encounterId", None)
    request["prefetch"]["encounter"] = EMERGENCY
    order_of(request)["encounter"] = {"reference": "Encounter/er"}
    answered = answer(client, request)
    assert topics(answered) == ["guideline"]
    assert parts(next(stated(answered)), "questionnaire") == []


@pytest.mark.parametrize("kind", ["21", "512"])
def test_a_type_of_payment_outside_medicare_tells_no_medicare_program(
    client: FlaskClient, kind: str
) -> None:
    request = alone(MA)
    coverage_of(request)["type"] = {"coding": [{"system": "https://nahdo.org/sopt", "code": kind}]}
    (card,) = answer(client, request)["cards"]
    # Commercial insurance contradicts the payer's line of business; Medicaid may come beside it.
    said = (
        "This plan's policy does not decide for Medicaid" if kind == "21" else "Verify eligibility"
    )
    assert card["summary"].startswith(said)
    assert "Medicare" not in card["summary"] + card["detail"].partition("**More**")[0]


@pytest.mark.parametrize("kind", ["1", "13", "129"])
def test_medicare_without_saying_which_leaves_it_to_the_payers_line_of_business(
    client: FlaskClient, kind: str
) -> None:
    request = alone(MA)
    coverage_of(request)["type"] = {"coding": [{"system": "https://nahdo.org/sopt", "code": kind}]}
    summary = answer(client, request)["cards"][0]["summary"]
    assert summary.startswith("Not covered under the plan's medical policy")


def test_where_the_program_is_not_told_each_instruction_names_its_program(
    client: FlaskClient,
) -> None:
    answered = answer(client, alone("order-sign/mrs-program-not-told"))
    told = str(next(stated(answered)))
    assert "Medicare Advantage: Before MR spectroscopy" in told
    assert "Original Medicare: If a denial is expected, have an ABN" in told


@pytest.mark.requirement("crd-2.2.1:dev-24")
def test_order_select_says_which_of_several_drafts_it_is_about(client: FlaskClient) -> None:
    request = alone("order-select/mrs-selected")
    other = copy.deepcopy(order_of(request))
    other["id"] = "another"
    request["context"]["draftOrders"]["entry"].append({"resource": other})
    (card,) = answer(client, request)["cards"]
    assert "This is about" in card["detail"]


class TestAppointment:
    @pytest.fixture
    def request_of(self) -> Json:
        return alone("appointment-book/appointment-for-an-order")

    @pytest.fixture
    def booked(self, request_of: Json) -> Json:
        appointment: Json = request_of["context"]["appointments"]["entry"][0]["resource"]
        return appointment

    @pytest.fixture
    def order(self, request_of: Json) -> Json:
        found: list[Json] = []

        def look(value: Any) -> None:
            if isinstance(value, dict):
                if value.get("resourceType") == "ServiceRequest":
                    found.append(value)
                for inner in value.values():
                    look(inner)
            elif isinstance(value, list):
                for inner in value:
                    look(inner)

        look(request_of["prefetch"])
        (order,) = found
        return order

    def test_of_a_revoked_order_still_tells_what_it_books_itself(
        self, client: FlaskClient, request_of: Json, booked: Json, order: Json
    ) -> None:
        booked["serviceType"] = [order["code"]]
        order["status"] = "revoked"
        answered = answer(client, request_of)
        assert topics(answered) == ["guideline", "claim"]

    def test_that_is_off_books_nothing(
        self, client: FlaskClient, request_of: Json, booked: Json
    ) -> None:
        booked["status"] = "cancelled"
        assert answer(client, request_of) == {"cards": [], "systemActions": []}

    def test_of_several_patients_is_this_ones_too(
        self, client: FlaskClient, request_of: Json, booked: Json, order: Json
    ) -> None:
        booked.pop("basedOn")
        booked["serviceType"] = [order["code"]]
        booked["participant"].insert(
            0, {"actor": {"reference": "Patient/baby"}, "status": "accepted"}
        )
        assert topics(answer(client, request_of)) == ["guideline", "claim"]

    def test_about_a_procedure_that_was_done_books_no_such_thing(
        self, client: FlaskClient, request_of: Json, booked: Json, order: Json
    ) -> None:
        booked.pop("basedOn")
        booked.pop("serviceType", None)
        done = {"resourceType": "Procedure", "id": "old", "status": "completed"}
        booked["contained"] = [{**done, "code": order["code"]}]
        booked["reasonReference"] = [{"reference": "#old"}]
        assert topics(answer(client, request_of)) == []
