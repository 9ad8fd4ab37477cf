"""A primary hook answers for every order in scope: a statement, a card that says why, or an error.

CRD 2.2.1 hook-16 and hook-13, CRD 2.0.1 statement 164. Silence would pass for an all-clear.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import check_answer, is_silent_about_an_order, parts, stated
from tests.contract.calls import FIXTURE_NAMES, Json, answer, call_of, orders_of, post

MA = "order-sign/mrs-medicare-advantage"
UNLISTED = {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "70551"}]}
DEAD = {"fhirServer": "http://127.0.0.1:9/fhir", "fhirAuthorization": {"access_token": "t"}}

Change = Callable[[Json], object]


def unlisted(version: str, change: Change = lambda _: None) -> Json:
    """A signing of a service of which no policy speaks; nothing can be fetched."""
    request = call_of(MA, version)
    for name in ("fhirServer", "fhirAuthorization"):
        request.pop(name, None)
    for order in orders_of(request):
        order["code"] = copy.deepcopy(UNLISTED)
    change(request)
    return request


def without_insurance(request: Json) -> None:
    for order in orders_of(request):
        order.pop("insurance", None)


def without_coverage(request: Json) -> None:
    without_insurance(request)
    request["prefetch"]["coverage"] = None


def of_a_dead_server(request: Json) -> None:
    without_coverage(request)
    request.update(DEAD)


def with_two_coverages(request: Json) -> None:
    without_insurance(request)
    entries = request["prefetch"]["coverage"]["entry"]
    entries.append(copy.deepcopy(entries[0]))
    entries[-1]["resource"]["id"] = "second"
    entries[-1].pop("fullUrl", None)


def with_two_that_are_over(request: Json) -> None:
    with_two_coverages(request)
    for entry in request["prefetch"]["coverage"]["entry"]:
        if entry["resource"]["resourceType"] == "Coverage":
            entry["resource"]["period"] = {"start": "2020-01-01", "end": "2021-01-01"}


def of_another_person(request: Json) -> None:
    without_insurance(request)
    for entry in request["prefetch"]["coverage"]["entry"]:
        if entry["resource"]["resourceType"] == "Coverage":
            entry["resource"]["beneficiary"] = {"reference": "Patient/somebody-else"}


def without_an_id_of_the_coverage(request: Json) -> None:
    without_insurance(request)
    entry = request["prefetch"]["coverage"]["entry"][0]
    entry["resource"].pop("id")
    entry.pop("fullUrl", None)


def without_an_id_of_the_order(request: Json) -> None:
    for order in orders_of(request):
        order.pop("id")


def naming_a_coverage_of_another_server(request: Json) -> None:
    for order in orders_of(request):
        order["insurance"] = [{"reference": "https://other.example.org/fhir/Coverage/ma-ann"}]


GAPS: dict[str, tuple[Change, str, int]] = {
    "no coverage": (without_coverage, "No insurance came with this request", 400),
    "a dead server": (of_a_dead_server, "could not be read from the EHR", 400),
    "two coverages": (with_two_coverages, "More than one insurance is active", 400),
    "two that are over": (
        with_two_that_are_over,
        "The insurance sent is not active on the day",
        400,
    ),
    "another's": (of_another_person, "The insurance sent is another person's", 400),
    "a coverage without id": (without_an_id_of_the_coverage, "insurance came without an id", 200),
    "an order without id": (without_an_id_of_the_order, "One order came without an id", 200),
    "another server's": (naming_a_coverage_of_another_server, "names was not sent", 400),
}
"""What lacks, what the card says in 2.0, and the status under 2.2."""


@pytest.mark.requirement("crd-2.0.1:164")
@pytest.mark.parametrize("gap", GAPS)
def test_in_2_0_a_card_says_why_an_order_was_not_checked(client: FlaskClient, gap: str) -> None:
    change, said, _ = GAPS[gap]
    answered = answer(client, unlisted("2.0", change))
    check_answer(answered)
    (card,) = answered["cards"]
    assert said in card["summary"]
    assert card["indicator"] == "info"
    assert answered["systemActions"] == []


@pytest.mark.requirement("crd-2.2.1:hook-13", "crd-2.2.1:hook-16", "crd-2.2.1:hook-9")
@pytest.mark.parametrize("gap", GAPS)
def test_in_2_2_it_is_a_card_or_an_error_that_names_the_place(
    client: FlaskClient, gap: str
) -> None:
    change, said, status = GAPS[gap]
    reply = post(client, unlisted("2.2", change))
    assert reply.status_code == status
    if status == 200:
        (card,) = reply.get_json()["cards"]
        assert said in card["summary"]
    else:
        (issue,) = reply.get_json()["issue"]
        assert issue["expression"]
        assert "coverage" in issue["diagnostics"]


@pytest.mark.requirement("crd-2.0.1:164")
def test_a_coverage_that_the_order_names_and_nobody_sent_is_pointed_at(client: FlaskClient) -> None:
    def change(request: Json) -> None:
        for order in orders_of(request):
            order["insurance"] = [{"reference": "Coverage/another"}]

    answered = answer(client, unlisted("2.0", change))
    (statement,) = stated(answered)
    assert parts(statement, "coverage") == [{"reference": "Coverage/another"}]
    assert parts(statement, "covered") == ["conditional"]
    assert "names was not sent" in str(parts(statement, "reason"))
    assert parts(statement, "contact") == []


def test_orders_that_lack_the_same_share_one_card(client: FlaskClient) -> None:
    def change(request: Json) -> None:
        without_coverage(request)
        (entry,) = request["context"]["draftOrders"]["entry"]
        second = copy.deepcopy(entry)
        second["resource"]["id"] = "second"
        request["context"]["draftOrders"]["entry"].append(second)

    (card,) = answer(client, unlisted("2.0", change))["cards"]
    assert "the coverage of 2 orders was not checked" in card["summary"]


def test_a_caller_that_wants_no_cards_gets_none(client: FlaskClient) -> None:
    request = unlisted("2.0", without_coverage)
    request["extension"]["davinci-crd.configuration"] = {"guideline": False}
    assert answer(client, request) == {"cards": [], "systemActions": []}


@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize("name", FIXTURE_NAMES)
def test_no_fixture_meets_silence_whatever_it_lacks(
    client: FlaskClient, name: str, version: str
) -> None:
    request = call_of(name, version)
    for lacking in (None, "coverage", "patient", "encounter"):
        asked = copy.deepcopy(request)
        for gone in ("fhirServer", "fhirAuthorization"):
            asked.pop(gone, None)
        if lacking and asked.get("prefetch"):
            asked["prefetch"].pop(lacking, None)
        reply = post(client, asked)
        if reply.status_code == 200:
            assert not is_silent_about_an_order(asked, reply.get_json())
