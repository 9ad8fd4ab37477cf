"""The payer's decision before the service, as the call tells it, is told on card and order."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import Library, wire_review
from tests.conftest import NOW, TODAY, in_folder
from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import answer, call_of, change_orders
from tests.contract.never_again import check_never_again
from tests.contract.test_facts_fetched import Ehr

Json = dict[str, Any]
BOTH = pytest.mark.parametrize("version", ["2.0", "2.2"])


def told(client: FlaskClient, request: Json) -> Json:
    body = answer(client, request)
    check_answer(body)
    check_never_again(body)
    return body


def instructions(body: Json) -> list[str]:
    (statement,) = stated(body)
    return [
        parts(d, "value")[0]
        for d in parts(statement, "detail")
        if "instructions" in str(parts(d, "code"))
    ]


def topics(body: Json) -> list[str]:
    return [c["source"]["topic"]["code"] for c in body["cards"]]


def without_naming_it(request: Json) -> Json:
    """The decision is in the prefetch, and the order does not name it."""

    def unnamed(order: Json) -> None:
        order["insurance"] = [
            r for r in order["insurance"] if not r["reference"].startswith("ClaimResponse/")
        ]

    return change_orders(request, unnamed)


@BOTH
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("name", "summary", "sentence", "do"),
    [
        (
            "pending-before",
            "The plan is deciding on MR spectroscopy (76390): wait for its answer.",
            "A decision before the service is pending at the plan (number OD\\-TEST\\-2).",
            "Give the service only after the plan's written answer.",
        ),
        (
            "denied-before",
            "The plan has decided against MR spectroscopy (76390): read its notice.",
            "The plan has decided against this service on 2026-11-17 (number OD\\-TEST\\-3).",
            "If the patient or the treating clinician disagrees, appeal",
        ),
    ],
)
def test_the_plan_is_not_asked_again_and_the_card_says_how_it_stands(
    client: FlaskClient,
    version: str,
    named: bool,
    name: str,
    summary: str,
    sentence: str,
    do: str,
) -> None:
    request = call_of(f"order-sign/{name}", version)
    body = told(client, request if named else without_naming_it(request))
    assert topics(body) == ["guideline"]
    (card,) = body["cards"]
    assert card["summary"] == summary
    glance = card["detail"].partition("**More**")[0]
    assert sentence in glance
    assert f"**Do:** {do}" in glance
    assert "**Call:** Example Health Plan provider services" in glance
    assert "ask the plan for an organization determination" not in card["detail"]
    (said,) = instructions(body)
    assert said.startswith(sentence.replace("\\", ""))
    (statement,) = stated(body)
    assert parts(statement, "questionnaire") == []


@BOTH
@pytest.mark.parametrize("named", [True, False])
def test_an_approval_is_on_file_and_satisfies(
    client: FlaskClient, version: str, named: bool
) -> None:
    request = call_of("order-sign/approved-before", version)
    body = told(client, request if named else without_naming_it(request))
    (card,) = body["cards"]
    assert card["summary"] == "An approval is on file for MR spectroscopy (76390)."
    assert "OD\\-TEST\\-1" in card["detail"]
    assert "**Call:** Example Health Plan provider services, +1-555-555-0100." in card["detail"]
    (statement,) = stated(body)
    assert parts(statement, "pa-needed") == ["satisfied"]
    assert parts(statement, "satisfied-pa-id") == ["OD-TEST-1"]


@BOTH
def test_an_answer_in_part_is_to_be_read(client: FlaskClient, version: str) -> None:
    request = call_of("order-sign/denied-before", version)
    (response,) = (e["resource"] for e in request["prefetch"]["decisions"]["entry"])
    action = response["addItem"][0]["adjudication"][0]["extension"][0]["extension"][1]
    action["valueCodeableConcept"]["coding"][0]["code"] = "A2"
    (card,) = told(client, request)["cards"]
    assert "answered in part" in card["summary"]
    assert "**Do:** Read that answer before the service." in card["detail"]


def test_decisions_that_contradict_each_other_are_told_and_the_plan_is_asked(
    client: FlaskClient,
) -> None:
    request = without_naming_it(call_of("order-sign/denied-before"))
    entries = request["prefetch"]["decisions"]["entry"]
    other = copy.deepcopy(entries[0])
    other["resource"]["id"] = "other"
    action = other["resource"]["addItem"][0]["adjudication"][0]["extension"][0]["extension"][1]
    action["valueCodeableConcept"]["coding"][0]["code"] = "A4"
    entries.append(other)
    body = told(client, request)
    assert topics(body) == ["guideline", "claim"]
    assert "contradict each other. Ask the plan which one holds." in body["cards"][0]["detail"]


def test_a_decision_that_the_order_names_and_that_did_not_come_is_told(
    client: FlaskClient,
) -> None:
    request = call_of("order-sign/denied-before")
    del request["prefetch"]["decisions"]
    body = told(client, request)
    assert topics(body) == ["guideline", "claim"]
    assert "names an earlier decision that was not sent" in body["cards"][0]["detail"]


def test_a_denial_of_another_payers_coverage_of_the_patient_changes_nothing(
    client: FlaskClient,
) -> None:
    request = without_naming_it(call_of("order-sign/denied-before"))
    (response,) = (e["resource"] for e in request["prefetch"]["decisions"]["entry"])
    response["insurer"] = {"identifier": {"system": "urn:oid:2.999.7.1", "value": "another"}}
    body = told(client, request)
    assert topics(body) == ["guideline", "claim"]
    assert body["cards"][0]["summary"].startswith("Not covered under the plan's medical policy")


def test_a_decision_that_the_order_names_is_read_from_the_ehr(tmp_path: Path) -> None:

    request = call_of("order-sign/denied-before", "2.0")
    (response,) = (e["resource"] for e in request["prefetch"].pop("decisions")["entry"])
    request["fhirServer"] = "http://127.0.0.1:8643/fhir"
    request["fhirAuthorization"] = {"access_token": "t", "token_type": "Bearer"}
    ehr = Ehr([response])
    settings = in_folder(tmp_path)
    review = wire_review(settings, Library(settings), lambda: NOW, ehr)
    found = review.review("order-sign-crd", json.dumps(request).encode())
    assert "ClaimResponse/denied-ann" in ehr.labels()
    (card,) = json.loads(found.answer)["cards"]
    assert card["summary"].startswith("The plan has decided against MR spectroscopy")


def test_the_statement_is_made_anew_once_the_plan_has_answered(client: FlaskClient) -> None:
    def assertion(name: str) -> object:
        (statement,) = stated(told(client, call_of(f"order-sign/{name}")))
        return parts(statement, "coverage-assertion-id")

    assert assertion("pending-before") != assertion("denied-before")


def test_the_day_of_the_test_is_the_one_that_the_fixtures_count_from() -> None:
    assert (TODAY - timedelta(days=5)).isoformat() == "2026-11-17"
