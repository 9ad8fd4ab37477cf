"""Whose an order and a coverage are is told by whole references, and what is missing is said."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import Json, answer, call_of, orders_of, post
from tests.contract.card_kinds import kinds

SIGN = "order-sign/mrs-medicare-advantage"
DISPATCH = "order-dispatch/two-orders"
BOOKED = "appointment-book/appointment-for-an-order"
ELSEWHERE = "https://other.example.org/fhir"


def signed(version: str = "2.0", **changed: object) -> Json:
    """The call of SIGN with elements of its order changed; nothing can be fetched."""
    request = without_access(call_of(SIGN, version))
    request["fhirServer"] = "https://ehr.example.org/fhir"
    (order,) = orders_of(request)
    order.update(changed)
    return request


def without_access(request: Json) -> Json:
    return {k: v for k, v in request.items() if k not in ("fhirServer", "fhirAuthorization")}


def without(request: Json, kind: str, id: str) -> Json:
    """The call without one of the prefetched resources."""
    for key, value in request["prefetch"].items():
        if not value:
            continue
        if (value.get("resourceType"), value.get("id")) == (kind, id):
            request["prefetch"][key] = None
        elif value.get("resourceType") == "Bundle":
            value["entry"] = [
                e
                for e in value["entry"]
                if (e["resource"]["resourceType"], e["resource"].get("id")) != (kind, id)
            ]
    return request


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_an_order_for_the_same_id_on_another_server_is_for_another_patient(
    client: FlaskClient, version: str
) -> None:
    answered = answer(client, signed(version, subject={"reference": f"{ELSEWHERE}/Patient/ann"}))
    check_answer(answered)
    assert not_checked(answered) == ["ServiceRequest/mrs-brain"]
    assert "for another patient than this request" in answered["cards"][0]["summary"]


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_the_order_of_another_patient_gets_nothing_of_this_ones_coverage(
    client: FlaskClient, version: str
) -> None:
    request = signed(version)
    (order,) = orders_of(request)
    entry = {"resource": {**order, "id": "of-bo", "subject": {"reference": "Patient/bo"}}}
    request["context"]["draftOrders"]["entry"].append(entry)
    answered = answer(client, request)
    check_answer(answered)
    assert [a["resource"]["id"] for a in answered.get("systemActions", [])] == [order["id"]]
    assert not_checked(answered) == ["ServiceRequest/of-bo"]


def test_an_order_for_the_patient_by_the_calls_own_server_is_answered_as_usual(
    client: FlaskClient,
) -> None:
    absolute = {"reference": "https://ehr.example.org/fhir/Patient/ann"}
    (statement,) = stated(answer(client, signed(subject=absolute)))
    assert parts(statement, "covered") == ["not-covered"]


def test_a_coverage_of_the_same_id_on_another_server_is_another_persons(
    client: FlaskClient,
) -> None:
    request = signed()
    for entry in request["prefetch"]["coverage"]["entry"]:
        if entry["resource"]["resourceType"] == "Coverage":
            entry["resource"]["beneficiary"] = {"reference": f"{ELSEWHERE}/Patient/ann"}
    answered = answer(client, request)
    assert answered.get("systemActions", []) == []
    assert "another person" in answered["cards"][0]["detail"]


@pytest.mark.parametrize(
    "named", ["Coverage/somewhere", f"{ELSEWHERE}/Coverage/ma-ann", "#contained"]
)
def test_no_coverage_is_taken_for_the_one_that_the_order_names(
    client: FlaskClient, named: str
) -> None:
    request = signed(insurance=[{"reference": named}])
    answered = answer(client, request)
    check_answer(answered)
    said = [(parts(s, "coverage"), parts(s, "covered")) for s in stated(answered)]
    can_be_named = named == "Coverage/somewhere"
    assert said == ([([{"reference": named}], ["conditional"])] if can_be_named else [])
    assert "insurance that the order names was not sent" in answered["cards"][0]["detail"]
    refused = post(client, signed("2.2", insurance=[{"reference": named}]))
    assert refused.status_code == 400
    assert "the coverage that the order names" in refused.get_data(as_text=True)


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_an_order_without_its_coverage_beside_one_with_it_is_not_passed_over(
    client: FlaskClient, version: str
) -> None:
    request = signed(version)
    (order,) = orders_of(request)
    named = [{"reference": "Coverage/somewhere"}]
    entry = {"resource": {**order, "id": "second", "insurance": named}}
    request["context"]["draftOrders"]["entry"].append(entry)
    answered = answer(client, request)
    check_answer(answered)
    assert [a["resource"]["id"] for a in answered["systemActions"]] == [order["id"], "second"]
    assert [parts(s, "covered") for s in stated(answered)] == [["not-covered"], ["conditional"]]
    (card,) = [c for c in answered["cards"] if "names was not sent" in c["detail"]]
    about = card["extension"]["davinci-crd.associated-resource"]
    assert about == [{"reference": "ServiceRequest/second"}]


def test_an_earlier_authorization_beside_the_insurance_is_no_coverage(client: FlaskClient) -> None:
    request = signed(insurance=[{"reference": "ClaimResponse/authorized"}])
    (statement,) = stated(answer(client, request))
    assert parts(statement, "coverage") == [{"reference": "Coverage/ma-ann"}]


def test_a_statement_on_a_coverage_of_another_server_stays(client: FlaskClient) -> None:
    (first,) = answer(client, signed()).get("systemActions", [])
    (ours,) = first["resource"]["extension"]
    theirs = {
        "url": ours["url"],
        "extension": [
            {"url": "coverage", "valueReference": {"reference": f"{ELSEWHERE}/Coverage/ma-ann"}},
            {"url": "covered", "valueCode": "covered"},
            {"url": "date", "valueDate": "2026-10-01"},
            {"url": "coverage-assertion-id", "valueString": "theirs"},
        ],
    }
    (second,) = answer(client, signed(extension=[theirs])).get("systemActions", [])
    assert second["resource"]["extension"] == [theirs, ours]


@pytest.mark.requirement("crd-2.2.1:hook-23")
def test_resources_in_an_element_that_the_hook_does_not_have_are_ignored(
    client: FlaskClient,
) -> None:
    request = signed()
    expected = [*stated(answer(client, request))]
    (coverage, *_) = (e["resource"] for e in request["prefetch"]["coverage"]["entry"])
    request["context"]["coverages"] = [{**coverage, "id": "second"}]
    request["context"]["coverage"] = {**coverage, "id": "third"}
    assert [*stated(answer(client, request))] == expected != []


def not_checked(answered: Json) -> list[Any]:
    """The orders that an answer says were not checked, in a card that names them."""
    found = []
    for card in answered["cards"]:
        if "not checked" in card["summary"]:
            assert kinds(card) == ["instructions"]
            assert "**This is about:** “" in card["detail"]
            found += [r["reference"] for r in card["extension"]["davinci-crd.associated-resource"]]
    return found


@pytest.mark.requirement("crd-2.2.1:found-34", "crd-2.2.1:dev-24", "crd-2.0.1:63")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_a_dispatched_order_that_nobody_gives_is_said_not_to_be_checked(
    client: FlaskClient, version: str
) -> None:
    request = without(call_of(DISPATCH, version), "ServiceRequest", "mrs-to-dispatch")
    answered = answer(client, without_access(request))
    check_answer(answered)
    assert [a["resource"]["id"] for a in answered.get("systemActions", [])] == ["mri-to-dispatch"]
    assert not_checked(answered) == ["ServiceRequest/mrs-to-dispatch"]
    (card,) = answered["cards"]
    assert r"“ServiceRequest\/mrs\-to\-dispatch”" in card["detail"]


@pytest.mark.requirement("crd-2.2.1:resp-43")
@pytest.mark.parametrize(("version", "covered"), [("2.0", "conditional"), ("2.2", "indeterminate")])
def test_an_appointment_for_an_order_that_nobody_gives_is_technical_trouble(
    client: FlaskClient, version: str, covered: str
) -> None:
    request = without(call_of(BOOKED, version), "ServiceRequest", "mrs-to-book")
    answered = answer(client, without_access(request))
    check_answer(answered)
    (statement,) = stated(answered)
    assert parts(statement, "covered") == [covered]
    assert "could not be read" in parts(statement, "reason")[0]["text"]
    assert not_checked(answered) == ["ServiceRequest/mrs-to-book"]


def test_one_line_of_early_warning_has_neither_links_nor_suggestions(client: FlaskClient) -> None:
    for name in ("order-select/mrs-selected", "order-select/sandbox-imaging-tab"):
        (card,) = answer(client, call_of(name))["cards"]
        assert card.keys().isdisjoint({"links", "suggestions", "selectionBehavior"})
        assert not any(mark in card["detail"] for mark in ("](", "http:", "https:"))


def test_at_a_visit_the_one_line_links_the_policy_and_nothing_else(client: FlaskClient) -> None:
    for name in ("encounter-start/mrs-ordered", "encounter-discharge/mrs-ordered"):
        (card,) = answer(client, call_of(name))["cards"]
        (link,) = card["links"]
        assert link["type"] == "absolute"
        assert "/policies/mr-spectroscopy#coverage" in link["url"]
        assert card.keys().isdisjoint({"suggestions", "selectionBehavior"})
