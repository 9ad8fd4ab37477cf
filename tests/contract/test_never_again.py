"""What a Medicare compliance officer would not sign is said by no answer."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from service.cli import cli
from service.fhir.systems import CPT
from tests.conftest import FIXTURES, ROOT, TODAY
from tests.contract.answer_rules import created
from tests.contract.calls import (
    FIXTURE_NAMES,
    Json,
    asking,
    call_of,
    change_orders,
    orders_of,
    post,
)
from tests.contract.never_again import check_never_again, check_page
from tests.contract.payer_records import plan, records_database
from tests.contract.test_payer_records import MEMBERS
from tests.policies import LIBRARY

MA, OM = "order-sign/mrs-medicare-advantage", "order-sign/mrs-original-medicare"
EITHER = "order-sign/mrs-program-not-told"
V3 = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
COVERAGE_INFORMATION = (
    "http://hl7.org/fhir/us/davinci-crd/StructureDefinition/ext-coverage-information"
)


def yesterday(order: Json) -> None:
    order["occurrenceDateTime"] = (TODAY - timedelta(days=1)).isoformat()


def topics(answer: Json) -> list[str]:
    return [c["source"]["topic"]["code"] for c in answer["cards"]]


def answered(client: FlaskClient, request: Json) -> Json:
    reply = post(client, request)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    body: Json = reply.get_json()
    check_never_again(body)
    return body


def in_a_slot_yesterday(request: Json) -> Json:
    for appointment in orders_of(request):
        for side in ("start", "end"):
            day, _, time = appointment[side].partition("T")
            assert day > TODAY.isoformat()
            appointment[side] = f"{(TODAY - timedelta(days=1)).isoformat()}T{time}"
    return request


@pytest.mark.parametrize("name", ["mrs-appointment", "appointment-for-an-order"])
def test_the_day_of_an_appointment_that_is_past_is_told_as_well(
    client: FlaskClient, name: str
) -> None:
    request = in_a_slot_yesterday(call_of(f"appointment-book/{name}"))
    (card,) = answered(client, request)["cards"]
    assert "Too late" in card["summary"]


def within_a_period(order: Json) -> None:
    del order["occurrenceDateTime"]
    first, last = TODAY - timedelta(days=7), TODAY + timedelta(days=30)
    order["occurrencePeriod"] = {"start": first.isoformat(), "end": last.isoformat()}


@pytest.mark.parametrize("name", [MA, OM, EITHER])
def test_within_the_dates_of_the_order_it_is_not_too_late(client: FlaskClient, name: str) -> None:
    answer = answered(client, change_orders(call_of(name), within_a_period))
    assert topics(answer) == ["guideline", "claim"]
    assert "Too late" not in str(answer)


@pytest.mark.parametrize("period", [{"start": "2026-11-01"}, {"end": "2026-12-31"}, {}])
def test_a_period_with_an_open_side_is_never_past(client: FlaskClient, period: Json) -> None:
    def without_end(order: Json) -> None:
        del order["occurrenceDateTime"]
        order["occurrencePeriod"] = period

    answer = answered(client, change_orders(call_of(OM), without_end))
    assert topics(answer) == ["guideline", "claim"]


def test_a_card_on_orders_that_were_not_checked_names_whom_to_call(client: FlaskClient) -> None:
    request = call_of("order-sign/no-coverage")
    for order in orders_of(request):
        order["code"] = {"coding": [{"system": CPT, "code": "70553"}]}
    (card,) = answered(client, request)["cards"]
    assert "was not checked" in card["summary"]
    assert "**Call:** Example Health Plan provider services, +1-555-555-0100." in card["detail"]


def in_an_encounter(request: Json, code: str) -> Json:
    request["prefetch"]["encounter"] = {
        "resourceType": "Encounter",
        "id": "visit",
        "status": "in-progress",
        "class": {"system": V3, "code": code},
    }
    request["context"]["encounterId"] = "visit"
    return request


@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize("name", FIXTURE_NAMES)
def test_no_fixture_is_answered_with_it(client: FlaskClient, name: str, version: str) -> None:
    reply = post(client, call_of(name, version))
    if reply.status_code == 200:
        check_never_again(reply.get_json())


@pytest.mark.parametrize("name", [MA, OM, EITHER])
def test_after_the_service_no_notice_is_given_and_nothing_is_back_dated(
    client: FlaskClient, name: str
) -> None:
    answer = answered(client, change_orders(call_of(name), yesterday))
    assert topics(answer) == ["guideline"]
    assert list(created(answer)) == []
    (card,) = answer["cards"]
    assert ("back-date" in card["detail"]) is (name != MA)
    assert "Too late" in card["summary"]


@pytest.mark.requirement("crd-2.2.1:found-13")
@pytest.mark.parametrize("name", [MA, OM, EITHER])
def test_in_an_emergency_the_card_says_to_give_care_and_nothing_about_money(
    client: FlaskClient, name: str
) -> None:
    answer = answered(client, in_an_encounter(call_of(name), "EMER"))
    assert topics(answer) == ["guideline"]
    (card,) = answer["cards"]
    said = card["summary"] + card["detail"].partition("**More**")[0]
    assert "give needed care now" in said
    assert "Treat first." in said
    assert not any(word in said for word in ("pay", "owe", "bill", "cost", "overed"))


def test_an_inpatient_gets_no_abn_and_the_plan_may_be_asked(client: FlaskClient) -> None:
    original = answered(client, in_an_encounter(call_of(OM), "IMP"))
    assert topics(original) == ["guideline"]
    assert "The hospital has its own notices" in original["cards"][0]["summary"]
    assert "ABN must be signed" not in str(original["cards"])
    advantage = answered(client, in_an_encounter(call_of(MA), "IMP"))
    assert topics(advantage) == ["guideline", "claim"]


@pytest.mark.parametrize("code", ["IMP", "ACUTE", "NONAC"])
def test_where_the_program_is_not_told_an_inpatients_card_still_says_to_verify_it(
    client: FlaskClient, code: str
) -> None:
    first, second = answered(client, in_an_encounter(call_of(EITHER), code))["cards"]
    assert first["summary"].startswith("Check which plan pays")
    assert "**Do:** Verify which plan pays first." in first["detail"]
    assert "Original Medicare: Ask the hospital which of its notices" in first["detail"]
    # One notice is left, and still the plan that pays tells whether it is right.
    assert [s["label"] for s in second["suggestions"]] == ["Medicare Advantage: ask the plan"]
    assert "depends on the plan that pays" in second["summary"]


def test_where_the_program_is_not_told_urgent_care_comes_first(client: FlaskClient) -> None:
    def urgent(order: Json) -> None:
        order["priority"] = "urgent"

    first, second = answered(client, change_orders(call_of(EITHER), urgent))["cards"]
    assert first["summary"].startswith("Urgent: give needed care now.")
    assert "**Do not:** Let needed care wait for the answer." in first["detail"]
    assert "Give the service before the plan has answered" not in str(second)
    assert [s["label"] for s in second["suggestions"]] == ["Medicare Advantage: ask the plan"]


@pytest.mark.parametrize("intent", ["plan", "proposal"])
def test_what_is_not_yet_ordered_gets_one_line(client: FlaskClient, intent: str) -> None:
    def planned(order: Json) -> None:
        order["intent"] = intent

    answer = answered(client, change_orders(call_of(MA), planned))
    (card,) = answer["cards"]
    assert card["indicator"] == "info"
    assert "come when the order is signed" in card["detail"]


def approved_by(author: str, **parts: Any) -> Json:
    told = {
        "coverage": {"valueReference": {"reference": "Coverage/ma-ann"}},
        "covered": {"valueCode": "covered"},
        "pa-needed": {"valueCode": "satisfied"},
        "date": {"valueDate": "2026-11-01"},
        "coverage-assertion-id": {"valueString": author},
        **parts,
    }
    extension = [{"url": url, **value} for url, value in told.items()]
    return {"url": COVERAGE_INFORMATION, "extension": extension}


@pytest.mark.parametrize("number", [{"satisfied-pa-id": {"valueString": "PA-77"}}, {}])
def test_an_approval_that_the_order_tells_is_neither_contradicted_nor_overwritten(
    client: FlaskClient, number: Json
) -> None:
    def approved(order: Json) -> None:
        order["extension"] = [approved_by("theirs", **number)]

    answer = answered(client, change_orders(call_of(MA), approved))
    (card,) = answer["cards"]
    assert card["summary"] == "An approval is on file for MR spectroscopy (76390)."
    assert ("PA\\-77" in card["detail"]) is bool(number)
    assert answer["systemActions"] == []


def test_where_the_program_is_not_told_each_button_begins_with_its_program(
    client: FlaskClient,
) -> None:
    for name in (EITHER, "order-sign/no-coverage"):
        answer = answered(client, call_of(name))
        labels = [s["label"] for s in answer["cards"][1]["suggestions"]]
        assert labels == ["Medicare Advantage: ask the plan", "Original Medicare: prepare an ABN"]
    assert "No insurance was sent" in answer["cards"][0]["detail"]


def test_the_insurers_telephone_number_is_on_every_card_on_the_policy(client: FlaskClient) -> None:
    for name in (MA, OM, EITHER, "order-sign/no-coverage"):
        first = answered(client, call_of(name))["cards"][0]
        assert "+1-555-555-01" in first["detail"].partition("**More**")[0]


def test_a_card_repeats_nothing_that_the_other_one_says(client: FlaskClient) -> None:
    for name in (MA, OM, EITHER):
        first, second = (
            {line for line in card["detail"].partition("**More**")[0].split("\n") if line}
            for card in answered(client, call_of(name))["cards"]
        )
        assert first.isdisjoint(second)


def test_discovery_speaks_of_coverage_information_and_never_of_a_decision(
    client: FlaskClient,
) -> None:
    said = client.get("/cds-services").get_data(as_text=True)
    assert "coverage information" in said.lower()
    assert "decision" not in said.lower()


def test_in_2_0_a_coverage_of_a_payer_that_is_not_handled_here_does_not_make_several(
    client: FlaskClient,
) -> None:
    request = call_of(MA, "2.0")
    for order in request["context"]["draftOrders"]["entry"]:
        order["resource"].pop("insurance", None)
    entries = request["prefetch"]["coverage"]["entry"]
    (own,) = (e["resource"] for e in entries if e["resource"]["resourceType"] == "Coverage")
    other = {
        **own,
        "id": "other",
        "payor": [{"identifier": {"system": "http://example.org/others", "value": "x"}}],
    }
    entries.append({"resource": other})
    assert answered(client, request)["cards"][0]["summary"].startswith("Not covered under")
    assert post(client, asking(request, "2.2")).status_code == 400


@pytest.mark.parametrize("path", ["/policies", "/policies/mr-spectroscopy"])
def test_no_policy_page_says_it_and_a_policy_is_dated_as_its_source_dates_it(
    client: FlaskClient, path: str
) -> None:
    page = client.get(path).get_data(as_text=True)
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))
    check_page(words)
    assert "Published 2023-10-01" in words


PROSE = sorted(
    path.relative_to(ROOT).as_posix()
    for folder, kinds in {
        ".": ("README.md", "CONTRIBUTING.md"),
        "docs": ("**/*.md",),
        "cards/texts": ("*.yaml", "*.j2"),
        "cards/questionnaires": ("*.json",),
        "service/policies/library": ("**/*.yaml",),
        "service/policies/skeleton": ("*.yaml",),
        "service/web/templates": ("**/*.html",),
        "examples": ("**/*.yaml",),
        "fhir_fixtures": ("README.md",),
    }.items()
    for kind in kinds
    for path in (ROOT / folder).glob(kind)
)


@pytest.mark.parametrize("name", PROSE)
def test_nothing_that_people_read_or_that_answers_are_made_of_says_it(name: str) -> None:
    # The fields that were renamed are read, and told, under their old names.
    words = re.sub(r"`programme[a-z_]*`", "", (ROOT / name).read_text("utf-8"))
    check_page(re.sub(r"\s+", " ", words))


@pytest.mark.parametrize(
    "command",
    [
        ["policy", "show", "mr-spectroscopy"],
        ["policy", "lint"],
        ["policy", "test"],
        *(["fire", f"{FIXTURES}/{name}.json", "--explain"] for name in (MA, OM, EITHER)),
    ],
    ids=" ".join,
)
def test_no_command_says_it(command: list[str]) -> None:
    told = CliRunner(env={"COLUMNS": "200"}).invoke(cli, command)
    assert told.exit_code == 0, told.output
    check_page(re.sub(r"\s+", " ", told.output))
    if command[:2] == ["policy", "show"]:
        assert "Published 2023-10-01" in told.output
        assert "In force from" not in told.output


def test_beside_a_gold_card_a_policy_under_review_says_nothing_of_authorization(
    tmp_path: Path,
) -> None:
    library = tmp_path / "library"
    copytree(LIBRARY, library, ignore=ignore_patterns("manifest.yaml"))
    file = library / "mr-spectroscopy" / "2023-10-01.yaml"
    review = 'next: "2024-06"\n  when_overdue: verify'
    file.write_text(file.read_text("utf-8").replace('next: "2024-06"', review), "utf-8")
    url = records_database(tmp_path)
    with plan(url, tmp_path, policies_dir=library) as payer:
        payer.put("members", MEMBERS)
        payer.put("exemptions", "npi,codes\n9999998310,76390\n")
        answer = payer.answer(call_of(MA, "2.2"))
    check_never_again(answer)
    assert "Ask the plan" in answer["cards"][0]["summary"]
    assert "no-auth" not in str(answer)


def test_no_policy_says_it_as_json(client: FlaskClient) -> None:
    check_page(client.get("/policies/mr-spectroscopy.json").get_data(as_text=True))
