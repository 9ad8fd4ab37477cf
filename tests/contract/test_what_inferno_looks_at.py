"""What the Inferno CRD server suite looks at, and CDS Hooks 2.0 asks for, in every answer.

Every fixture, in both versions and on all six hooks; `fhir_fixtures/inferno` holds the input of the
suite itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.crd.cds_service import HookTier
from service.crd.hooks import SERVICES
from tests.contract.answer_rules import check_answer, parts
from tests.contract.calls import FIXTURE_NAMES, PRIMARY_HOOKS, Json, answer, call_of, post
from tests.contract.card_kinds import COVERAGE_INFORMATION, is_coverage_information, kinds

each_fixture = pytest.mark.parametrize("name", FIXTURE_NAMES)
KIND = {
    (HookTier.PRIMARY, "guideline"): "external reference",
    (HookTier.PRIMARY, "claim"): "form completion",
    (HookTier.EARLY, "guideline"): "instructions",
    (HookTier.SECONDARY, "guideline"): "external reference",
}
ANSWERING = {s.hook: s.tier for s in SERVICES}


@pytest.fixture(scope="module")
def answers(client: FlaskClient) -> dict[tuple[str, str], Json]:
    """Every fixture's answer in 2.0, and in 2.2 where that is no refusal, by name and version."""
    found = {}
    for name in FIXTURE_NAMES:
        for version in ("2.0", "2.2"):
            reply = post(client, call_of(name, version))
            if version == "2.0" or reply.status_code == 200:
                assert reply.status_code == 200
                assert reply.mimetype == "application/json"
                found[name, version] = reply.get_json()
    return found


def cards(answers: dict[tuple[str, str], Json]) -> Iterator[Json]:
    for answered in answers.values():
        yield from answered["cards"]


def actions(answers: dict[tuple[str, str], Json]) -> Iterator[Json]:
    """Every action: of the systems, and of the suggestions."""
    for answered in answers.values():
        yield from answered.get("systemActions", [])
        for card in answered["cards"]:
            for suggestion in card.get("suggestions", []):
                yield from suggestion["actions"]


@pytest.mark.requirement(
    "crd-2.0.1:4",
    "crd-2.0.1:152",
    "crd-2.0.1:170",
    "crd-2.0.1:185",
    "crd-2.0.1:196",
    "crd-2.0.1:204",
    "crd-2.0.1:208",
    "crd-2.0.1:217",
    "crd-2.2.1:hook-4",
    "cds-hooks-2.0:74",
    "cds-hooks-2.0:75",
)
def test_every_hook_answers_with_cards_and_system_actions(
    answers: dict[tuple[str, str], Json],
) -> None:
    hooks = set()
    for (name, version), answered in answers.items():
        assert isinstance(answered["cards"], list)
        if version == "2.0":
            assert isinstance(answered["systemActions"], list)
        else:
            # The logical model of 2.2.1's answer has no empty lists.
            assert answered.get("systemActions") != []
        hooks.add(name.split("/")[0])
    assert hooks == {
        "order-sign",
        "order-select",
        "order-dispatch",
        "appointment-book",
        "encounter-start",
        "encounter-discharge",
    }


@pytest.mark.requirement(
    "cds-hooks-2.0:80",
    "cds-hooks-2.0:88",
    "cds-hooks-2.0:92",
    "cds-hooks-2.0:95",
    "cds-hooks-2.0:96",
    "cds-hooks-2.0:103",
    "cds-hooks-2.0:105",
    "cds-hooks-2.0:115",
    "cds-hooks-2.0:119",
    "cds-hooks-2.0:124",
    "cds-hooks-2.0:130",
    "cds-hooks-2.0:138",
    "cds-hooks-2.0:139",
    "cds-hooks-2.0:141",
    "cds-hooks-2.0:142",
    "cds-hooks-2.0:146",
    "cds-hooks-2.0:147",
    "cds-hooks-2.0:216",
    "cds-hooks-2.0:217",
    "cds-hooks-2.0:218",
    "cds-hooks-2.0:219",
    "cds-hooks-2.0:220",
)
def test_every_answer_has_the_structure_of_cds_hooks(
    answers: dict[tuple[str, str], Json],
) -> None:
    for answered in answers.values():
        check_answer(answered)


@pytest.mark.requirement("cds-hooks-2.0:3")
def test_nothing_that_is_ours_is_null_or_empty(answers: dict[tuple[str, str], Json]) -> None:
    def empty_things(value: object, place: str) -> Iterator[str]:
        if value in (None, "", [], {}):
            yield place
        elif isinstance(value, dict):
            for key, child in value.items():
                yield from empty_things(child, f"{place}.{key}")
        elif isinstance(value, list):
            for i, child in enumerate(value):
                yield from empty_things(child, f"{place}[{i}]")

    for (name, version), answered in answers.items():
        assert answered.keys() <= {"cards", "systemActions"}
        for card in answered["cards"]:
            assert list(empty_things(card, f"{name} {version}")) == []
        for action in answered.get("systemActions", []):
            # The order itself is the EHR's own, and goes back as it came.
            ours = [e for e in action["resource"]["extension"] if e["url"] == COVERAGE_INFORMATION]
            assert list(empty_things([action["type"], action["description"], ours], name)) == []


@pytest.mark.requirement(
    "crd-2.2.1:resp-22",
    "crd-2.2.1:resp-24",
    "crd-2.2.1:resp-65",
    "crd-2.2.1:resp-15",
    "crd-2.0.1:249",
    "crd-2.0.1:248",
    "crd-2.0.1:258",
    "crd-2.0.1:259",
)
@each_fixture
def test_every_card_is_recognized_as_exactly_its_kind(
    answers: dict[tuple[str, str], Json], name: str
) -> None:
    answering = ANSWERING[name.split("/")[0]]
    for version in ("2.0", "2.2"):
        for card in answers.get((name, version), {"cards": []})["cards"]:
            approval = card["summary"].startswith("An approval is on file")
            kind = "instructions" if approval else KIND[answering, card["source"]["topic"]["code"]]
            assert kinds(card) == [kind]


@pytest.mark.requirement("crd-2.0.1:247", "crd-2.0.1:248", "crd-2.0.1:249", "crd-2.2.1:resp-14")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_the_kinds_that_a_server_must_be_able_to_send_are_all_seen(
    answers: dict[tuple[str, str], Json], version: str
) -> None:
    of_version = {key: a for key, a in answers.items() if key[1] == version}
    seen = {kind for card in cards(of_version) for kind in kinds(card)}
    assert seen == {"external reference", "instructions", "form completion"}
    assert any(is_coverage_information(a) for a in actions(of_version))


@pytest.mark.requirement("crd-2.2.1:resp-25", "crd-2.2.1:resp-48", "crd-2.0.1:279")
def test_coverage_information_comes_as_updates_by_the_system_and_never_as_a_card(
    answers: dict[tuple[str, str], Json],
) -> None:
    for answered in answers.values():
        assert all(is_coverage_information(a) for a in answered.get("systemActions", []))
        assert all("resourceId" not in a for a in answered.get("systemActions", []))
        assert "coverage-info" not in {c["source"]["topic"]["code"] for c in answered["cards"]}


@pytest.mark.requirement(
    "crd-2.2.1:hook-26",
    "crd-2.2.1:hook-33",
    "crd-2.2.1:hook-39",
    "crd-2.2.1:resp-26",
    "crd-2.2.1:resp-27",
    "crd-2.0.1:164",
    "crd-2.0.1:184",
    "crd-2.0.1:207",
    "crd-2.0.1:226",
)
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize("hook", [*PRIMARY_HOOKS, "order-select"])
def test_coverage_information_is_returned_at_signing_dispatch_booking_and_selection(
    answers: dict[tuple[str, str], Json], hook: str, version: str
) -> None:
    asked = [key for key in answers if key[0].startswith(f"{hook}/") and key[1] == version]
    assert any(answers[key].get("systemActions", []) for key in asked)


@pytest.mark.requirement(
    "crd-2.2.1:hook-16",
    "crd-2.2.1:hook-26",
    "crd-2.2.1:hook-33",
    "crd-2.2.1:hook-39",
    "crd-2.2.1:resp-29",
    "crd-2.0.1:164",
    "crd-2.0.1:16",
    "crd-2.0.1:219",
)
def test_every_order_under_one_coverage_is_answered_even_if_nothing_can_be_decided(
    client: FlaskClient,
) -> None:
    for name, orders in {
        "order-sign/unlisted-code": 1,
        "order-sign/code-as-text-only": 1,
        "order-sign/empty-coding": 1,
        "order-sign/before-the-policy": 1,
        "order-sign/period-across-the-first-day": 1,
        "order-sign/every-order-type": 6,
        "order-dispatch/two-orders": 2,
        "appointment-book/unlisted-appointment": 1,
        "order-select/mrs-selected": 1,
        "order-select/mrs-not-selected": 1,
    }.items():
        for version in ("2.0", "2.2"):
            answered = answer(client, call_of(name, version))
            assert len(answered.get("systemActions", [])) == orders, name


@pytest.mark.requirement("crd-2.2.1:resp-32", "crd-2.0.1:264", "crd-2.0.1:265")
def test_each_coverage_has_its_own_assertion_id_on_an_order(
    answers: dict[tuple[str, str], Json],
) -> None:
    for answered in answers.values():
        for action in answered.get("systemActions", []):
            ids: dict[str, set[Any]] = {}
            for extension in action["resource"]["extension"]:
                if extension["url"] == COVERAGE_INFORMATION:
                    (coverage,) = parts(extension, "coverage")
                    ids.setdefault(coverage["reference"], set()).update(
                        parts(extension, "coverage-assertion-id")
                    )
            assert all(len(of_coverage) == 1 for of_coverage in ids.values())
            assert len(set().union(*ids.values())) == len(ids)


@pytest.mark.requirement("crd-2.2.1:resp-3", "crd-2.0.1:77", "cds-hooks-2.0:80")
def test_every_card_and_suggestion_has_a_uuid_of_its_own(
    answers: dict[tuple[str, str], Json],
) -> None:
    found = []
    for card in cards(answers):
        found.append(card["uuid"])
        found.extend(s["uuid"] for s in card.get("suggestions", []))
    assert len(found) == len(set(found))
    assert all(str(uuid.UUID(u)) == u for u in found)


@pytest.mark.requirement(
    "crd-2.2.1:resp-1",
    "crd-2.2.1:resp-2",
    "crd-2.0.1:227",
    "crd-2.0.1:228",
    "crd-2.0.1:229",
    "cds-hooks-2.0:87",
    "cds-hooks-2.0:88",
)
def test_only_the_money_that_the_patient_may_have_to_pay_is_a_warning(
    answers: dict[tuple[str, str], Json],
) -> None:
    by_kind: dict[str, set[str]] = {}
    for card in cards(answers):
        by_kind.setdefault(kinds(card)[0], set()).add(card["indicator"])
    assert by_kind == {
        # One line at a visit is no warning yet.
        "external reference": {"warning", "info"},
        "form completion": {"info"},
        "instructions": {"info"},
    }


@pytest.mark.requirement("crd-2.2.1:resp-17", "crd-2.2.1:resp-23")
def test_no_card_sends_anybody_to_a_portal(answers: dict[tuple[str, str], Json]) -> None:
    policies = "http://127.0.0.1:8642/policies/"
    form = "https://www.cms.gov/medicare/forms-notices/beneficiary-notices-initiative/ffs-abn"
    for card in cards(answers):
        for link in card.get("links", []):
            assert link["url"] == form or link["url"].startswith(policies)
        assert "portal" not in (card["summary"] + card["detail"]).lower()


@pytest.mark.requirement("crd-2.2.1:resp-10", "crd-2.0.1:239")
def test_what_a_detail_links_is_among_the_links_of_the_answer(
    answers: dict[tuple[str, str], Json],
) -> None:
    linked = 0
    for answered in answers.values():
        links = {link["url"] for card in answered["cards"] for link in card.get("links", [])}
        for card in answered["cards"]:
            for address in card["detail"].split("](")[1:]:
                assert address.split(")")[0] in links
                linked += 1
    assert linked


@pytest.mark.requirement("crd-2.2.1:resp-6", "crd-2.0.1:233")
def test_every_summary_names_the_service_and_what_is_the_matter(
    answers: dict[tuple[str, str], Json],
) -> None:
    said = (
        "ot covered",
        "may not pay",
        "before ",
        "Before ",
        "check coverage",
        "check who covers",
        "to decide on",
        "give needed care now",
        "Too late",
        "is on file for",
        "wait for its answer",
        "read its notice",
        "no ABN goes with",
        "ends before the order does",
    )
    for card in cards(answers):
        assert "MR spectroscopy" in card["summary"]
        assert any(words in card["summary"] for words in said), card["summary"]


@pytest.mark.requirement("crd-2.2.1:resp-7", "crd-2.0.1:234")
def test_every_detail_says_what_the_summary_has_no_room_for(
    answers: dict[tuple[str, str], Json],
) -> None:
    for card in cards(answers):
        assert card["summary"] not in card["detail"]
        assert len(card["summary"]) < 140


@pytest.mark.requirement(
    "crd-2.2.1:resp-8",
    "crd-2.2.1:resp-9",
    "crd-2.2.1:resp-20",
    "crd-2.0.1:235",
    "crd-2.0.1:236",
    "crd-2.0.1:260",
)
def test_a_policy_card_gives_the_gist_first_then_why_then_where_it_is_written(
    answers: dict[tuple[str, str], Json],
) -> None:
    for card in cards(answers):
        if kinds(card) == ["external reference"] and card["indicator"] == "warning":
            detail = card["detail"]
            assert detail.split("\n")[0]
            assert 0 < detail.index("**More**") < detail.index("**Policy:**")
            if "**Why:**" in detail:
                assert detail.index("**More**") < detail.index("**Why:**")


@pytest.mark.requirement(
    "crd-2.2.1:resp-21",
    "crd-2.0.1:238",
    "crd-2.0.1:261",
    "crd-2.0.1:271",
    "cds-hooks-2.0:110",
    "cds-hooks-2.0:140",
)
def test_the_policy_is_linked_at_what_it_says_on_coverage(
    answers: dict[tuple[str, str], Json], client: FlaskClient
) -> None:
    for card in cards(answers):
        for link in card.get("links", []):
            if "/policies/" in link["url"]:
                page, _, anchor = link["url"].partition("#")
                shown = client.get(page.removeprefix("http://127.0.0.1:8642"))
                assert shown.status_code == 200
                assert f'id="{anchor}"' in shown.get_data(as_text=True)


@pytest.mark.requirement("crd-2.2.1:resp-11", "crd-2.0.1:240")
def test_what_a_button_does_can_be_done_by_hand_as_well(
    answers: dict[tuple[str, str], Json],
) -> None:
    for card in cards(answers):
        if "suggestions" in card:
            assert "do the steps above by hand" in card["detail"]
            assert "**Do:**" in card["detail"]


@pytest.mark.requirement(
    "crd-2.2.1:dev-25", "crd-2.0.1:141", "cds-hooks-2.0:214", "cds-hooks-2.0:215"
)
def test_every_card_names_the_orders_that_it_is_about(
    answers: dict[tuple[str, str], Json],
) -> None:
    for (name, _), answered in answers.items():
        request = str(call_of(name))
        for card in answered["cards"]:
            assert card["extension"].keys() == {"davinci-crd.associated-resource"}
            for about in card["extension"]["davinci-crd.associated-resource"]:
                assert about.keys() == {"reference"}
                assert about["reference"].split("/")[1] in request


@pytest.mark.requirement("crd-2.0.1:237")
def test_no_answer_has_more_than_two_cards(answers: dict[tuple[str, str], Json]) -> None:
    assert max(len(a["cards"]) for a in answers.values()) == 2


@pytest.mark.requirement("crd-2.2.1:found-13", "crd-2.0.1:26", "cds-hooks-2.0:77")
@pytest.mark.parametrize(
    "name",
    [
        "encounter-start/nothing-ordered",
        "encounter-discharge/nothing-ordered",
        "order-sign/no-orders",
        "order-sign/do-not-perform",
    ],
)
def test_where_nothing_is_to_be_said_nothing_is_said(client: FlaskClient, name: str) -> None:
    assert answer(client, call_of(name)) == {"cards": [], "systemActions": []}


@pytest.mark.requirement("crd-2.2.1:hook-34", "crd-2.0.1:210", "crd-2.2.1:ops-1", "crd-2.0.1:165")
def test_while_ordering_only_what_was_selected_is_looked_at(client: FlaskClient) -> None:
    answered = answer(client, call_of("order-select/mrs-not-selected"))
    assert answered["cards"] == []
    assert [a["resource"]["id"] for a in answered.get("systemActions", [])] == ["mri-head"]


@pytest.mark.requirement("crd-2.2.1:hook-30")
def test_at_dispatch_only_the_dispatched_orders_are_looked_at(client: FlaskClient) -> None:
    request = call_of("order-dispatch/two-orders")
    request["context"]["dispatchedOrders"] = ["ServiceRequest/mri-to-dispatch"]
    answered = answer(client, request)
    assert answered["cards"] == []
    assert [a["resource"]["id"] for a in answered.get("systemActions", [])] == ["mri-to-dispatch"]


@pytest.mark.requirement("crd-2.0.1:204", "crd-2.2.1:conf-12")
def test_a_dispatch_in_the_form_of_the_ballot_is_answered_alike(client: FlaskClient) -> None:
    request = call_of("order-dispatch/mrs-to-an-imaging-center")
    published = answer(client, request)
    context = request["context"]
    context["order"] = context.pop("dispatchedOrders")[0]
    context["task"] = context.pop("fulfillmentTasks")[0]
    ballot = answer(client, request)
    assert [c["summary"] for c in ballot["cards"]] == [c["summary"] for c in published["cards"]]
    assert ballot.get("systemActions", []) == published.get("systemActions", [])


def test_a_dispatch_that_names_no_order_is_refused_with_the_place(client: FlaskClient) -> None:
    request = call_of("order-dispatch/mrs-to-an-imaging-center")
    del request["context"]["dispatchedOrders"]
    reply = post(client, request)
    assert reply.status_code == 422
    (issue,) = reply.get_json()["issue"]
    assert issue["diagnostics"] == "context: missing: dispatchedOrders"
