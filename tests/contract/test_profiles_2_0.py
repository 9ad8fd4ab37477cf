"""Everything that answers in CRD 2.0 hold for machines conforms to the profiles of CRD 2.0.1."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import created, parts, stated
from tests.contract.calls import FIXTURE_NAMES, Json, answer, call_of, received
from tests.contract.guides import CARD_TYPES, CRD_PROFILES, crd_2_0, needs_crd_2_0

pytestmark = needs_crd_2_0

COVERAGE_INFORMATION = f"{CRD_PROFILES}ext-coverage-information"
TASK = f"{CRD_PROFILES}profile-taskquestionnaire"
each_fixture = pytest.mark.parametrize("name", FIXTURE_NAMES)


@pytest.mark.requirement("crd-2.0.1:247")
@each_fixture
def test_every_statement_conforms_to_the_coverage_information_extension(
    client: FlaskClient, name: str
) -> None:
    profile = crd_2_0().profile(COVERAGE_INFORMATION)
    answered = answer(client, call_of(name, "2.0"))
    assert {n: p for n, e in enumerate(stated(answered)) if (p := profile.problems(e))} == {}


@pytest.mark.requirement("crd-2.0.1:299", "crd-2.2.1:resp-62")
@each_fixture
def test_every_task_conforms_to_the_questionnaire_task(client: FlaskClient, name: str) -> None:
    profile = crd_2_0().profile(TASK)
    answered = answer(client, call_of(name, "2.0"))
    tasks = [a["resource"] for a in created(answered) if a["resource"]["resourceType"] == "Task"]
    assert [profile.problems(t) for t in tasks] == [[] for _ in tasks]


@pytest.mark.requirement(
    "crd-2.0.1:272",
    "crd-2.0.1:273",
    "crd-2.0.1:274",
    "crd-2.0.1:275",
    "crd-2.0.1:276",
    "crd-2.0.1:277",
)
@each_fixture
def test_an_update_leaves_an_order_as_conformant_as_it_came(client: FlaskClient, name: str) -> None:
    request = call_of(name, "2.0")
    for action in answer(client, request).get("systemActions", []):
        updated = action["resource"]
        profile = crd_2_0().profile_of(updated["resourceType"])
        assert COVERAGE_INFORMATION in profile.extensions()
        assert profile.problems(updated) == profile.problems(received(request, updated))


@pytest.mark.requirement(
    "crd-2.0.1:272",
    "crd-2.0.1:273",
    "crd-2.0.1:274",
    "crd-2.0.1:275",
    "crd-2.0.1:276",
    "crd-2.0.1:277",
)
def test_an_order_of_each_type_that_the_guide_lists_conforms_when_it_is_updated(
    client: FlaskClient,
) -> None:
    listed = {
        "Appointment",
        "DeviceRequest",
        "MedicationRequest",
        "NutritionOrder",
        "ServiceRequest",
        "VisionPrescription",
    }
    for name in ("order-sign/every-order-type", "appointment-book/mrs-appointment"):
        for action in answer(client, call_of(name, "2.0")).get("systemActions", []):
            updated = action["resource"]
            if updated["resourceType"] in listed:
                assert crd_2_0().profile_of(updated["resourceType"]).problems(updated) == []
                listed.remove(updated["resourceType"])
    assert listed == set()


@pytest.mark.requirement("crd-2.0.1:232")
@each_fixture
def test_every_cards_topic_is_a_card_type(client: FlaskClient, name: str) -> None:
    card_types = crd_2_0().codes(CARD_TYPES)
    topics = [c["source"]["topic"] for c in answer(client, call_of(name, "2.0"))["cards"]]
    assert {(t["system"], t["code"]) for t in topics} <= (card_types or set())


@pytest.mark.requirement("crd-2.0.1:110", "crd-2.0.1:121", "crd-2.2.1:dev-7")
def test_every_option_has_the_code_of_a_card_type_but_for_the_number_of_cards(
    client: FlaskClient,
) -> None:
    card_types = {code for _, code in crd_2_0().codes(CARD_TYPES) or ()}
    for service in client.get("/cds-services").get_json()["services"]:
        options = service["extension"]["davinci-crd.configuration-options"]
        assert {o["code"] for o in options} - card_types == {"max-cards"}


@pytest.mark.requirement("crd-2.0.1:111", "crd-2.0.1:112", "crd-2.0.1:113")
def test_every_option_has_the_elements_of_its_definition(client: FlaskClient) -> None:
    profile = crd_2_0().profile(f"{CRD_PROFILES}CDSHookServicesExtensionConfiguration")
    # The definition binds the code as required, the guide as extensible: "from the list if an
    # applicable type is in that list". There is none for the number of cards.
    for service in client.get("/cds-services").get_json()["services"]:
        for option in service["extension"]["davinci-crd.configuration-options"]:
            assert [p for p in profile.problems(option) if ".code: not in " not in p] == []


@pytest.mark.requirement("crd-2.2.1:conf-5")
def test_every_element_that_must_be_supported_is_filled_where_there_is_something_to_say(
    client: FlaskClient,
) -> None:
    advantage = answer(client, call_of("order-sign/mrs-medicare-advantage", "2.0"))
    original = answer(client, call_of("order-sign/mrs-original-medicare", "2.0"))
    unclear = answer(client, call_of("order-sign/period-across-the-first-day", "2.0"))
    filled: dict[str, list[Any]] = {}
    for answered in (advantage, original, unclear):
        for extension in stated(answered):
            for name in ("covered", "pa-needed", "doc-needed", "doc-purpose", "info-needed"):
                filled.setdefault(name, []).extend(parts(extension, name))
    assert {name: sorted(set(values)) for name, values in filled.items()} == {
        "covered": ["conditional", "not-covered"],
        "pa-needed": ["conditional"],
        "doc-needed": ["admin", "clinical"],
        "doc-purpose": ["OTH"],
        "info-needed": ["timeframe"],
    }
    for answered in (advantage, original):
        for action in created(answered):
            task: Json = action["resource"]
            assert task["basedOn"] == [{"reference": "ServiceRequest/mrs-brain"}]
            assert task["encounter"]["reference"].startswith("Encounter/")
