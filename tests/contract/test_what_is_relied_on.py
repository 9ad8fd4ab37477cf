"""What an answer rests on: the elements that the guide has every client support, and no others."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.web.markdown import markdown_html
from tests.contract.answer_rules import check_answer, parts, stated
from tests.contract.calls import FIXTURE_NAMES, Json, answer, call_of, orders_of, resources_in
from tests.contract.guides import crd_2_0, needs_crd_2_0

MAIN = "order-sign/mrs-medicare-advantage"
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"

# What each version of US Core has in a patient, beside what all of them have.
OF_US_CORE = {
    "3.1.1": [{"url": f"{US_CORE}us-core-birthsex", "valueCode": "F"}],
    "6.1.0": [
        {"url": f"{US_CORE}us-core-sex", "valueCode": "248152002"},
        {
            "url": f"{US_CORE}us-core-tribal-affiliation",
            "extension": [{"url": "isEnrolled", "valueBoolean": False}],
        },
    ],
    "7.0.0": [
        {
            "url": f"{US_CORE}us-core-interpreter-needed",
            "valueCoding": {"system": "http://snomed.info/sct", "code": "373067005"},
        }
    ],
}


def said(answered: Json) -> tuple[list[str], list[tuple[str, list[Any]]]]:
    """The summaries of an answer's cards, and what it states of each order."""
    summaries = [c["summary"] for c in answered["cards"]]
    orders = [a["resource"]["id"] for a in answered.get("systemActions", [])]
    covered = [parts(e, "covered") for e in stated(answered)]
    return summaries, list(zip(orders, covered, strict=True))


@pytest.mark.requirement("crd-2.2.1:conf-2")
@pytest.mark.parametrize("version", OF_US_CORE)
def test_data_of_every_version_of_us_core_are_answered_alike(
    client: FlaskClient, version: str
) -> None:
    request = call_of(MAIN)
    for resource in resources_in([request["context"], request["prefetch"]]):
        profile = f"{US_CORE}us-core-{resource['resourceType'].lower()}|{version}"
        resource["meta"] = {"profile": [profile]}
        if resource["resourceType"] == "Patient":
            resource["extension"] = OF_US_CORE[version]
    assert said(answer(client, request)) == said(answer(client, call_of(MAIN)))


def only_supported(resource: Json) -> Json:
    """The resource without the elements that are neither mandatory nor must-support."""
    try:
        profile = crd_2_0().profile_of(resource["resourceType"])
    except ValueError:  # of US Core: this package has no profile of it
        return resource
    supported = profile.supported()
    kept = {"resourceType", "id", *(key for key in resource if key in supported)}
    return {key: value for key, value in resource.items() if key in kept}


def with_resources(value: Any) -> Any:
    """A copy of the value with each resource in it reduced to what must be supported."""
    if isinstance(value, dict):
        if value.get("resourceType", "Bundle") != "Bundle":
            return only_supported(value)
        return {key: with_resources(child) for key, child in value.items()}
    return [with_resources(v) for v in value] if isinstance(value, list) else value


@needs_crd_2_0
@pytest.mark.requirement(
    "crd-2.2.1:conf-7", "crd-2.2.1:conf-8", "crd-2.2.1:conf-9", "crd-2.2.1:hook-22"
)
@pytest.mark.parametrize(
    "name",
    [
        MAIN,
        "order-sign/mrs-original-medicare",
        "order-sign/every-order-type",
        "order-dispatch/two-orders",
        "appointment-book/mrs-appointment",
    ],
)
def test_nothing_but_mandatory_and_must_support_elements_is_needed(
    client: FlaskClient, name: str
) -> None:
    request = call_of(name)
    reduced = {
        **request,
        "context": with_resources(request["context"]),
        "prefetch": with_resources(request["prefetch"]),
    }
    assert reduced != request
    answered = answer(client, reduced)
    check_answer(answered)
    assert said(answered) == said(answer(client, request))


def at(request: Json, path: str) -> Iterator[tuple[Any, str]]:
    """The holder and the last key of a dotted path; "*" stands for every entry of a Bundle."""
    holders: list[Any] = [request]
    *steps, last = path.split(".")
    for step in steps:
        nexts: list[Any] = []
        for holder in holders:
            if step == "*":
                nexts.extend(e["resource"] for e in holder["entry"])
            else:
                nexts.append(holder[int(step)] if isinstance(holder, list) else holder[step])
        holders = nexts
    for holder in holders:
        if holder.get("resourceType") != "Organization":
            yield holder, last


@pytest.mark.requirement("crd-2.2.1:conf-4", "crd-2.0.1:3")
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("context.draftOrders.*.code", {"text": "a scan"}),
        ("context.draftOrders.*.occurrenceDateTime", "2020-01-01"),
        ("context.draftOrders.*.status", "revoked"),
        ("context.draftOrders.*.doNotPerform", True),
        ("context.draftOrders.*.subject", {"reference": "Patient/bo"}),
        ("prefetch.coverage.*.status", "cancelled"),
        ("prefetch.coverage.*.period", {"end": "2020-01-01"}),
        ("prefetch.coverage.*.beneficiary", {"reference": "Patient/bo"}),
        ("prefetch.coverage.*.payor", [{"identifier": {"system": "urn:x", "value": "y"}}]),
        ("prefetch.encounter.class", {"code": "EMER"}),
    ],
)
def test_what_must_be_supported_is_made_use_of(
    client: FlaskClient, path: str, value: object
) -> None:
    request = call_of(MAIN)
    before = answer(client, request)
    for holder, key in at(request, path):
        holder[key] = value
    after = answer(client, request)
    assert said(before) != said(after)


@pytest.mark.requirement("crd-2.2.1:billopt-2")
def test_an_order_without_billing_options_is_answered(client: FlaskClient) -> None:
    request = call_of("order-sign/billing-options")
    with_options = answer(client, request)
    for order in orders_of(request):
        del order["code"]["extension"]
    without = answer(client, request)
    assert len(without.get("systemActions", [])) == len(with_options.get("systemActions", [])) == 1
    (statement,) = stated(without)
    assert parts(statement, "reason")


@pytest.mark.requirement("crd-2.2.1:resp-51")
def test_a_program_that_the_coverage_does_not_tell_is_taken_from_its_payer(
    client: FlaskClient,
) -> None:
    answered = answer(client, call_of("order-sign/program-from-the-payer"))
    (notice,) = answered["cards"][1]["suggestions"]
    assert notice["label"] == "Ask the plan"


@pytest.mark.requirement("crd-2.2.1:conf-13")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_what_is_said_for_machines_is_said_in_the_guides_own_elements(
    client: FlaskClient, version: str
) -> None:
    for name in ("mrs-medicare-advantage", "mrs-original-medicare", "every-order-type"):
        request = call_of(f"order-sign/{name}", version)
        answered = answer(client, request)
        for action in answered.get("systemActions", []):
            (extension,) = action["resource"]["extension"]
            assert extension["url"].startswith("http://hl7.org/fhir/us/davinci-crd/")
            added = action["resource"].keys() - {"extension"}
            assert added == next(
                o.keys() for o in orders_of(request) if o["id"] == action["resource"]["id"]
            )
        for card in answered["cards"]:
            assert all(key.startswith("davinci-crd.") for key in card["extension"])
            for suggestion in card.get("suggestions", []):
                for made in suggestion["actions"]:
                    assert "extension" not in made["resource"]


@pytest.mark.requirement("crd-2.2.1:found-9", "crd-2.0.1:23")
@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("mrs-medicare-advantage", "medicare_advantage"),
        ("mrs-original-medicare", "original_medicare"),
        ("mrs-program-not-told", "not_told"),
    ],
)
def test_cards_and_statements_say_what_the_public_policy_says(
    client: FlaskClient, name: str, program: str
) -> None:
    public = client.get("/policies/mr-spectroscopy.json").get_json()["coverage"][program]
    answered = answer(client, call_of(f"order-sign/{name}"))
    (statement,) = stated(answered)
    assert parts(statement, "covered") == [public["covered"]]
    why = public["reason"]["text"]
    assert why in answered["cards"][0]["detail"]
    assert any(why in r["text"] for r in parts(statement, "reason"))


@pytest.mark.requirement("crd-2.0.1:262", "crd-2.0.1:310")
def test_in_2_0_a_statement_names_its_codes_and_what_was_assumed(client: FlaskClient) -> None:
    (statement,) = stated(answer(client, call_of("order-sign/several-codings", "2.0")))
    assert [c["code"] for c in parts(statement, "billingCode")] == ["76390"]
    reasons = [r["text"] for r in parts(statement, "reason")]
    assert any(r.startswith("Assumed: The order tells no day of service") for r in reasons)


@pytest.mark.requirement("crd-2.0.1:167")
@pytest.mark.parametrize(
    "name",
    [n for n in FIXTURE_NAMES if n.startswith(("order-select/", "encounter-"))],
)
def test_in_2_0_a_supporting_hook_asks_for_no_documents(client: FlaskClient, name: str) -> None:
    for statement in stated(answer(client, call_of(name, "2.0"))):
        assert parts(statement, "doc-needed") == []
        assert parts(statement, "questionnaire") == []


@pytest.mark.requirement("crd-2.0.1:174", "crd-2.0.1:189")
def test_a_service_that_is_booked_or_ordered_for_a_visit_is_told_as_not_covered(
    client: FlaskClient,
) -> None:
    booked = answer(client, call_of("appointment-book/mrs-appointment"))
    visited = answer(client, call_of("encounter-start/mrs-ordered"))
    assert booked["cards"][0]["summary"].startswith("Not covered under the plan's medical policy")
    assert "MR spectroscopy" in visited["cards"][0]["summary"]


@pytest.mark.requirement("crd-2.0.1:175")
def test_a_slot_after_the_end_of_the_coverage_is_told_as_without_one(client: FlaskClient) -> None:
    request = call_of("appointment-book/mrs-appointment")
    for entry in request["prefetch"]["coverage"]["entry"]:
        if entry["resource"]["resourceType"] == "Coverage":
            entry["resource"]["period"] = {"start": "2022-01-01", "end": "2026-11-30"}
    answered = answer(client, request)
    assert answered["cards"][0]["summary"].startswith("Verify coverage before")
    (statement,) = stated(answered)
    assert "is not active on the day of service" in parts(statement, "reason")[0]["text"]


@pytest.mark.requirement("crd-2.0.1:181")
@pytest.mark.parametrize("user", ["Patient/ann", "RelatedPerson/kin", "Practitioner/quill"])
def test_an_appointment_may_be_booked_by_anybody(client: FlaskClient, user: str) -> None:
    request = call_of("appointment-book/mrs-appointment")
    expected = said(answer(client, copy.deepcopy(request)))
    request["context"]["userId"] = user
    assert said(answer(client, request)) == expected


@pytest.mark.requirement("cds-hooks-2.0:85")
@pytest.mark.parametrize("name", FIXTURE_NAMES)
def test_every_detail_is_markdown_of_which_nothing_is_left_over(
    client: FlaskClient, name: str
) -> None:
    for card in answer(client, call_of(name))["cards"]:
        html = markdown_html(card["detail"])
        assert html.startswith("<p>")
        assert "**" not in html
        assert "](" not in html
