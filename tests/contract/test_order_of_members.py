"""The order of JSON members, of Bundle entries and of prefetch keys says nothing (RFC 8259 §4)."""

from __future__ import annotations

import copy
import random
import re
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import parts, stated
from tests.contract.calls import FIXTURE_NAMES, Json, answer, call_of, post

MA = "order-sign/mrs-medicare-advantage"
WITHOUT_ORDER = ("entry", "coding", "identifier", "insurance", "participant", "extension")
"""Arrays of which FHIR gives the order no meaning."""


def shuffled(value: Any, chance: random.Random, name: str = "") -> Any:
    """A copy with its members, and its arrays that have no order, in another order."""
    if isinstance(value, dict):
        members = [(key, shuffled(inner, chance, key)) for key, inner in value.items()]
        chance.shuffle(members)
        return dict(members)
    if isinstance(value, list):
        items = [shuffled(inner, chance, name) for inner in value]
        if name in WITHOUT_ORDER:
            chance.shuffle(items)
        return items
    return value


def content(body: Json) -> Any:
    """What an answer says, without ids of its own and the order in which it says it."""
    cards = [
        (
            card["source"]["topic"]["code"],
            card["indicator"],
            sorted(re.findall(r"\w+", card["summary"])),
            sorted(str(r) for r in card.get("extension", {}).values()),
            sorted(s["label"] for s in card.get("suggestions", [])),
        )
        for card in body["cards"]
    ]
    statements = [
        (
            action["resource"]["resourceType"],
            action["resource"]["id"],
            [
                sorted(str(part) for part in e["extension"])
                for e in stated({"systemActions": [action]})
            ],
        )
        for action in body.get("systemActions", [])
    ]
    return sorted(cards), sorted(statements)


def one_order(body: Json) -> Json:
    """The associated resources of each card in one order."""
    for card in body["cards"]:
        for references in card.get("extension", {}).values():
            references.sort(key=str)
    return body


@pytest.mark.requirement("crd-2.2.1:found-9")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize("name", FIXTURE_NAMES)
def test_a_fixture_in_another_order_gets_the_same_answer(
    client: FlaskClient, name: str, version: str
) -> None:
    request = call_of(name, version)
    reply = post(client, request)
    for seed in range(3):
        other = post(client, shuffled(request, random.Random(f"{name}{seed}")))
        assert other.status_code == reply.status_code
        if reply.status_code == 200:
            assert content(one_order(other.get_json())) == content(one_order(reply.get_json()))


def both_ways(request: Json) -> list[Json]:
    """The call with its prefetch keys as they are, and in reverse."""
    other = copy.deepcopy(request)
    other["prefetch"] = dict(reversed(other["prefetch"].items()))
    return [request, other]


def test_a_payer_that_also_came_alone_is_found_by_the_full_url_of_its_entry(
    client: FlaskClient,
) -> None:
    request = call_of(MA, "2.2")
    urn = "urn:uuid:0a51c1de-3a1f-4f7e-9d53-1f6a3f0d2b77"
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]
    payer = {
        "resourceType": "Organization",
        "id": "our-plan",
        "identifier": [p["identifier"] for p in coverage["payor"] if "identifier" in p]
        or [{"system": "http://example.org/payers", "value": "example-health-plan"}],
        "name": "Example Health Plan",
    }
    coverage["payor"] = [{"reference": urn}]
    entries = request["prefetch"]["coverage"]["entry"]
    entries[:] = [e for e in entries if e["resource"]["resourceType"] != "Organization"]
    entries.append({"fullUrl": urn, "resource": payer})
    request["prefetch"] = {"payer": copy.deepcopy(payer), **request["prefetch"]}
    for call in both_ways(request):
        (statement,) = stated(answer(client, call))
        assert parts(statement, "covered") == ["not-covered"]


def test_a_patient_that_also_came_alone_is_the_one_that_the_order_names_by_full_url(
    client: FlaskClient,
) -> None:
    request = call_of(MA)
    urn = "urn:uuid:9d3c3a0b-21c4-4f7e-8a53-5c0d6f1b2a11"
    patient = copy.deepcopy(request["prefetch"]["patient"])
    request["prefetch"]["coverage"]["entry"].append({"fullUrl": urn, "resource": patient})
    request["prefetch"]["coverage"]["entry"][0]["resource"]["beneficiary"] = {"reference": urn}
    request["context"]["draftOrders"]["entry"][0]["resource"]["subject"] = {"reference": urn}
    for call in both_ways(request):
        assert len(answer(client, call)["cards"]) == 2


def test_of_two_copies_of_a_coverage_the_one_updated_last_counts(client: FlaskClient) -> None:
    request = call_of(MA)
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]
    older = copy.deepcopy(coverage)
    coverage["meta"] = {"lastUpdated": "2026-11-01T00:00:00Z"}
    older["meta"] = {"lastUpdated": "2025-01-01T00:00:00Z"}
    older["status"] = "cancelled"
    request["prefetch"] = {"old": older, **request["prefetch"]}
    for call in both_ways(request):
        (statement,) = stated(answer(client, call))
        assert "active" not in str(parts(statement, "reason"))


def test_a_full_url_of_two_resources_leads_to_neither(client: FlaskClient) -> None:
    request = call_of(MA)
    urn = "urn:uuid:0a51c1de-3a1f-4f7e-9d53-1f6a3f0d2b77"
    payers = ("example-health-plan", "somebody-else")
    for value in payers:
        identifier = {"system": "http://example.org/payers", "value": value}
        payer = {"resourceType": "Organization", "id": value, "identifier": [identifier]}
        request["prefetch"][value] = {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"fullUrl": urn, "resource": payer}],
        }
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]
    coverage["payor"] = [{"reference": urn}]
    for call in both_ways(request):
        call.pop("fhirServer", None)
        (statement,) = stated(answer(client, call))
        assert "does not say which payer" in str(parts(statement, "reason"))


def test_an_order_behind_two_appointments_is_asked_about_on_the_earlier_ones_day(
    client: FlaskClient,
) -> None:
    request = call_of("appointment-book/appointment-for-an-order")
    entries = request["context"]["appointments"]["entry"]
    earlier = copy.deepcopy(entries[0])
    earlier["resource"].update(id="earlier", start="2023-09-01T09:00:00Z", end="2023-09-01T10:00Z")
    earlier.pop("fullUrl", None)
    entries.append(earlier)
    answers = []
    for order in (entries, entries[::-1]):
        request["context"]["appointments"]["entry"] = order
        answers.append(content(one_order(answer(client, request))))
    assert answers[0] == answers[1]
