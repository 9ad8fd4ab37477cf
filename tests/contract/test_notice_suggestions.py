"""What the buttons of the notice card create, in each of the ways that an operator can choose."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse
from fhir.resources.R4B.task import Task
from flask.testing import FlaskClient

from service.bootstrap.app import create_app
from service.policies.library import load_notices
from service.settings import Settings
from tests.conftest import NOW
from tests.contract.answer_rules import check_answer
from tests.contract.calls import coverages_of
from tests.filling import answers_of
from tests.libraries import as_of, ended

Read = Callable[[str], dict[str, Any]]

SDC_TEMP = "http://hl7.org/fhir/uv/sdc/CodeSystem/temp"
CRD_TEMP = "http://hl7.org/fhir/us/davinci-crd/CodeSystem/temp"


def served(**settings: Any) -> FlaskClient:
    return create_app(Settings(**settings), clock=lambda: NOW).test_client()


@pytest.fixture(scope="module")
def with_response() -> FlaskClient:
    return served(notice_suggestion="task-form-and-response")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library without a later edition of the ABN than today's, which ends."""
    library = as_of(NOW.date(), tmp_path)
    ended("abn", date(2029, 6, 30), library)
    return library


@pytest.fixture
def last(library: Path) -> date:
    """The last day of today's edition of the ABN."""
    ends = load_notices(library).edition("abn", NOW.date()).ends
    assert ends is not None
    return ends


def test_after_the_forms_last_day_the_card_asks_for_the_edition_of_today(
    fixture: Read, library: Path, last: date
) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    for today, warned in ((last, False), (last + timedelta(days=1), True)):
        noon = datetime.combine(today, time(12), UTC)
        settings = Settings(policies_dir=library)
        client = create_app(settings, clock=lambda noon=noon: noon).test_client()
        (order,) = (e["resource"] for e in request["context"]["draftOrders"]["entry"])
        order["occurrenceDateTime"] = today.isoformat()
        said = notice_card(client, request)["detail"].partition("\n")[0]
        assert ("an expired one does not count" in said) is warned
        assert (str(last) in said) is warned


def test_the_day_printed_on_the_form_ends_no_edition(fixture: Read, tmp_path: Path) -> None:
    noon = datetime(2029, 4, 1, 12, tzinfo=UTC)
    settings = Settings(policies_dir=as_of(NOW.date(), tmp_path))
    client = create_app(settings, clock=lambda: noon).test_client()
    request = fixture("order-sign/mrs-original-medicare")
    (order,) = (e["resource"] for e in request["context"]["draftOrders"]["entry"])
    order["occurrenceDateTime"] = "2029-04-20"
    said = notice_card(client, request)["detail"]
    assert 'Edition "expires 03/31/2029".' in said
    assert "Have it signed by" not in said
    assert "an expired one" not in said


def notice_card(client: FlaskClient, request: dict[str, Any]) -> dict[str, Any]:
    reply = client.post("/cds-services/order-sign-crd", json=request)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    answer: dict[str, Any] = reply.get_json()
    check_answer(answer)
    card: dict[str, Any] = answer["cards"][-1]
    assert card["source"]["topic"]["code"] == "claim"
    return card


def is_form_task(action: dict[str, Any]) -> bool:
    """How a client tells a form completion response: by the Task and its input's text."""
    task = action["resource"]
    return (
        action["type"] == "create"
        and task["resourceType"] == "Task"
        and any(c["code"] == "complete-questionnaire" for c in task["code"]["coding"])
        and any(
            i["type"].get("text") == "questionnaire" and "|" not in i["valueCanonical"]
            for i in task["input"]
            if "valueCanonical" in i
        )
    )


@pytest.mark.form_rule("crd-one-task")
@pytest.mark.requirement(
    "crd-2.2.1:resp-62", "crd-2.2.1:resp-65", "crd-2.2.1:resp-3", "crd-2.0.1:299"
)
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize(
    "name",
    [
        "mrs-medicare-advantage",
        "mrs-original-medicare",
        "mrs-program-not-told",
        "disc-pain-four-orders",
    ],
)
def test_each_suggestion_creates_one_task_of_the_profile_and_nothing_else(
    client: FlaskClient, fixture: Read, name: str, version: str
) -> None:
    request = fixture(f"order-sign/{name}")
    request["extension"] = {"davinci-crd.requestedVersion": version}
    card = notice_card(client, request)
    for suggestion in card["suggestions"]:
        (action,) = suggestion["actions"]
        assert is_form_task(action)
        assert action["description"]
        task = action["resource"]
        Task.model_validate(task)
        assert (task["status"], task["intent"]) == ("ready", "order")
        assert task["code"]["coding"][0]["system"] == SDC_TEMP
        assert task["for"]["reference"].startswith("Patient/")
        assert datetime.fromisoformat(task["authoredOn"]).tzinfo
        assert task["requester"]["type"] == "Organization"
        assert task["requester"]["identifier"]["value"]
        assert "focus" not in task
        assert len(task["basedOn"]) == len(request["context"]["draftOrders"]["entry"])
        assert task["encounter"]["reference"].startswith("Encounter/")
        assert task["id"]
        after = [i for i in task["input"] if "valueCodeableConcept" in i]
        if version == "2.2":
            # The input's codes are gone from 2.2.1's code systems.
            assert after == []
            continue
        assert [i["type"]["coding"][0]["code"] for i in after] == ["after-completion-action"]
        assert {i["type"]["coding"][0]["system"] for i in after} == {CRD_TEMP}
        assert {i["valueCodeableConcept"]["coding"][0]["system"] for i in after} == {CRD_TEMP}


def test_without_a_known_payer_the_task_names_who_asks(client: FlaskClient, fixture: Read) -> None:
    card = notice_card(client, fixture("order-sign/no-coverage"))
    task = card["suggestions"][0]["actions"][0]["resource"]
    # A contained Organization would not be found by a reader of the whole answer (ref-1).
    assert task["requester"] == {"type": "Organization", "display": "Example Health Plan"}
    assert "contained" not in task


def test_the_first_card_offers_nothing_to_click_that_the_guide_has_no_card_for(
    client: FlaskClient, fixture: Read
) -> None:
    reply = client.post(
        "/cds-services/order-sign-crd", json=fixture("order-sign/mrs-medicare-advantage")
    )
    first = reply.get_json()["cards"][0]
    assert first["links"]
    assert "suggestions" not in first


def test_each_program_has_one_button_and_of_two_one_is_pressed(
    client: FlaskClient, fixture: Read
) -> None:
    advantage = notice_card(client, fixture("order-sign/mrs-medicare-advantage"))
    original = notice_card(client, fixture("order-sign/mrs-original-medicare"))
    either = notice_card(client, fixture("order-sign/mrs-program-not-told"))
    assert [s["label"] for s in advantage["suggestions"]] == ["Ask the plan"]
    assert [s["label"] for s in original["suggestions"]] == ["Prepare an ABN"]
    assert len(either["suggestions"]) == 2
    assert either["selectionBehavior"] == "at-most-one"


@pytest.mark.requirement("crd-2.2.1:resp-11", "crd-2.0.1:240")
def test_an_ehr_that_finds_forms_by_dtr_gets_the_card_without_a_button(fixture: Read) -> None:
    card = notice_card(
        served(notice_suggestion="none"), fixture("order-sign/mrs-medicare-advantage")
    )
    assert "suggestions" not in card
    assert "selectionBehavior" not in card
    assert "The button" not in card["detail"]
    assert "Send member ID" in card["detail"]


@pytest.mark.form_rule("crd-task-references")
def test_a_response_begun_comes_along_and_the_task_points_at_it(
    with_response: FlaskClient, fixture: Read
) -> None:
    card = notice_card(with_response, fixture("order-sign/mrs-original-medicare"))
    (suggestion,) = card["suggestions"]
    begun, asked = (a["resource"] for a in suggestion["actions"])
    assert sum(is_form_task(a) for a in suggestion["actions"]) == 1
    QuestionnaireResponse.model_validate(begun)
    assert begun["status"] == "in-progress"
    (output,) = asked["output"]
    assert output["type"]["coding"][0]["code"] == "questionnaire-response"
    assert output["valueReference"] == {"reference": f"QuestionnaireResponse/{begun['id']}"}
    answers = {link: answer["valueString"] for link, answer in answers_of(begun["item"])}
    assert answers == {
        "patient-name": "Bo Sampleson",
        "service": "MR spectroscopy (76390)",
        "service-code": "76390",
        "reason": "Medicare does not pay for experimental or research use tests.",
    }


def test_the_request_to_the_plan_is_begun_with_member_diagnosis_place_and_day(
    with_response: FlaskClient, fixture: Read
) -> None:
    card = notice_card(with_response, fixture("order-sign/mrs-medicare-advantage"))
    begun = card["suggestions"][0]["actions"][0]["resource"]
    told = [
        (link, next(v for k, v in a.items() if k.startswith("value")))
        for link, a in answers_of(begun["item"])
    ]
    assert told == [
        ("patient-name", "Ann Testcase"),
        ("birth-date", "1951-04-12"),
        ("plan", "Example Health Plan"),
        ("member-id", "TEST-MEMBER-0001"),
        ("ordering-npi", "9999998310"),
        ("ordering-npi", "9999999011"),
        ("service", "MR spectroscopy (76390)"),
        ("service-code", "76390"),
        ("diagnosis", "C71.9: Known brain tumor, question of recurrence"),
        ("place", "Example Imaging Center, MR suite"),
        ("planned-on", "2026-12-01"),
        ("send-to", "fax +1-555-555-0101"),
        ("call", "+1-555-555-0102"),
    ]


def test_the_request_names_member_providers_and_units_where_the_call_tells_them(
    with_response: FlaskClient, fixture: Read
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    (coverage,) = coverages_of(request)
    coverage.pop("identifier", None)
    coverage["subscriberId"] = "TEST-MEMBER-0001"
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    npi = "http://hl7.org/fhir/sid/us-npi"
    order["requester"] = {"identifier": {"system": npi, "value": "1234567893"}}
    order["performer"] = [{"identifier": {"system": npi, "value": "1245319599"}}]
    order["quantityQuantity"] = {"value": 2}
    card = notice_card(with_response, request)
    answers = dict(answers_of(card["suggestions"][0]["actions"][0]["resource"]["item"]))
    assert answers["member-id"]["valueString"] == "TEST-MEMBER-0001"
    assert answers["ordering-npi"]["valueString"] == "1234567893"
    assert answers["performing-npi"]["valueString"] == "1245319599"
    assert answers["units"]["valueDecimal"] == 2
    assert "performing-network" not in answers


@pytest.mark.form_rule("dtr-intended-use")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_what_a_response_is_for_is_coded_as_its_notice_says(
    with_response: FlaskClient, fixture: Read, version: str
) -> None:
    # Of a purpose that the guide does not have; the systems of its own codes: test_begun_responses.
    request = fixture("order-sign/mrs-original-medicare")
    request["extension"] = {"davinci-crd.requestedVersion": version}
    begun = notice_card(with_response, request)["suggestions"][0]["actions"][0]["resource"]
    uses = [e for e in begun["extension"] if e["url"].endswith("/intendedUse")]
    null_flavor = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
    assert uses[0]["valueCodeableConcept"]["coding"] == [{"system": null_flavor, "code": "OTH"}]


def test_without_the_patient_at_hand_the_name_is_left_to_the_form_filler(
    with_response: FlaskClient, fixture: Read
) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    del request["prefetch"]["patient"]
    begun = notice_card(with_response, request)["suggestions"][0]["actions"][0]["resource"]
    assert "patient-name" not in dict(answers_of(begun["item"]))
    assert begun["subject"] == {"reference": "Patient/bo"}


@pytest.mark.form_rule("crd-dev-20")
@pytest.mark.requirement("crd-2.2.1:dev-20", "crd-2.0.1:135")
@pytest.mark.parametrize("mode", ["task", "task-and-form", "task-form-and-response"])
def test_an_ehr_that_was_not_asked_for_the_form_does_not_get_it(fixture: Read, mode: str) -> None:
    card = notice_card(served(notice_suggestion=mode), fixture("order-sign/mrs-original-medicare"))
    kinds = [a["resource"]["resourceType"] for a in card["suggestions"][0]["actions"]]
    assert "Questionnaire" not in kinds
    assert kinds[-1] == "Task"


PROGRAMS = pytest.mark.parametrize(
    "name", ["mrs-original-medicare", "mrs-medicare-advantage", "mrs-program-not-told"]
)
MEDICARE_NUMBER = "1EG4" + "TE5MK73"  # CMS's own sample of the format


def with_medicare_number(request: dict[str, Any]) -> dict[str, Any]:
    """The request with the number wherever a Coverage or Patient has a place for one."""
    (coverage,) = coverages_of(request)
    coverage["subscriberId"] = MEDICARE_NUMBER
    system = "http://hl7.org/fhir/sid/us-mbi"
    for holder in (coverage, request["prefetch"]["patient"]):
        holder.setdefault("identifier", []).append({"system": system, "value": MEDICARE_NUMBER})
        for identifier in holder["identifier"]:
            identifier["value"] = MEDICARE_NUMBER
    return request


@pytest.mark.form_rule("crd-medicare-number-in-card")
@PROGRAMS
def test_a_medicare_number_in_the_coverage_gets_into_no_card_and_no_form(
    with_response: FlaskClient, fixture: Read, name: str
) -> None:
    request = with_medicare_number(fixture(f"order-sign/{name}"))
    reply = with_response.post("/cds-services/order-sign-crd", json=request)
    forms = [
        action["resource"]
        for card in reply.get_json()["cards"]
        for suggestion in card.get("suggestions", [])
        for action in suggestion["actions"]
        if action["resource"]["resourceType"] == "QuestionnaireResponse"
    ]
    assert forms
    assert MEDICARE_NUMBER not in reply.get_data(as_text=True)


@pytest.mark.parametrize(
    "number", [MEDICARE_NUMBER, "1eg4-te5-" + "mk73", "000-00-" + "0000", "000000000A"]
)
def test_a_number_like_a_medicare_or_social_security_number_is_no_member_id(
    with_response: FlaskClient, fixture: Read, number: str
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    (coverage,) = coverages_of(request)
    coverage.pop("identifier", None)
    coverage["subscriberId"] = number
    card = notice_card(with_response, request)
    answers = dict(answers_of(card["suggestions"][0]["actions"][0]["resource"]["item"]))
    assert "patient-name" in answers
    assert "member-id" not in answers


@pytest.mark.form_rule("crd-medicare-number-in-package")
@PROGRAMS
def test_a_medicare_number_gets_into_no_package(
    client: FlaskClient, fixture: Read, name: str
) -> None:
    request = with_medicare_number(fixture(f"order-sign/{name}"))
    sent = [e["resource"] for e in request["prefetch"]["coverage"]["entry"]]
    given = [
        {"name": "coverage", "resource": next(r for r in sent if r["resourceType"] == "Coverage")},
        {"name": "order", "resource": request["context"]["draftOrders"]["entry"][0]["resource"]},
        {"name": "referenced", "resource": request["prefetch"]["patient"]},
        *({"name": "referenced", "resource": r} for r in sent if r["resourceType"] != "Coverage"),
    ]
    body = {"resourceType": "Parameters", "parameter": given}
    reply = client.post("/fhir/Questionnaire/$questionnaire-package", json=body)
    assert request["prefetch"]["patient"]["name"][0]["family"] in reply.get_data(as_text=True)
    assert MEDICARE_NUMBER not in reply.get_data(as_text=True)


@pytest.mark.form_rule("crd-resp-53")
@pytest.mark.requirement("crd-2.2.1:resp-53")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@PROGRAMS
def test_no_button_cancels_an_order_for_nothing_could_take_its_place(
    client: FlaskClient, fixture: Read, name: str, version: str
) -> None:
    request = fixture(f"order-sign/{name}")
    request["extension"] = {"davinci-crd.requestedVersion": version}
    reply = client.post("/cds-services/order-sign-crd", json=request)
    suggested = [
        action["type"]
        for card in reply.get_json()["cards"]
        for suggestion in card.get("suggestions", [])
        for action in suggestion["actions"]
    ]
    assert suggested
    assert set(suggested) == {"create"}


def test_an_edition_that_expires_before_the_service_is_to_be_signed_in_time(
    fixture: Read, library: Path, last: date
) -> None:
    request = fixture("order-sign/mrs-original-medicare")
    for service, warned in ((last, False), (last + timedelta(days=1), True)):
        (order,) = (e["resource"] for e in request["context"]["draftOrders"]["entry"])
        order["occurrenceDateTime"] = service.isoformat()
        said = notice_card(served(policies_dir=library), request)["detail"]
        assert (f"**Have it signed by {last}:**" in said) is warned
        assert "03/31/2029" in said


def test_an_expired_edition_is_not_recommended_beside_the_warning(
    fixture: Read, library: Path, last: date
) -> None:
    noon = datetime.combine(last + timedelta(days=1), time(12), UTC)
    client = create_app(Settings(policies_dir=library), clock=lambda: noon).test_client()
    request = fixture("order-sign/mrs-original-medicare")
    (order,) = (e["resource"] for e in request["context"]["draftOrders"]["entry"])
    order["occurrenceDateTime"] = (last + timedelta(days=9)).isoformat()
    said = notice_card(client, request)["detail"]
    assert "03/31/2029" not in said
    assert "Use CMS's own form." in said


@pytest.mark.form_rule("crd-blank-e")
def test_blank_e_and_the_card_give_the_reason_of_the_policy_at_hand(
    fixture: Read, tmp_path: Path
) -> None:
    library = tmp_path / "library"
    shutil.copytree(Settings().policies_dir, library)
    file = library / "mr-spectroscopy" / "2023-10-01.yaml"
    reason = 'for_patient: "Medicare pays for {services} once a year only."\n      citations'
    text, times = re.subn(r"for_patient: .*?citations", reason, file.read_text("utf-8"), flags=re.S)
    assert times == 2
    file.write_text(text, "utf-8")
    client = served(policies_dir=library, notice_suggestion="task-form-and-response")
    card = notice_card(client, fixture("order-sign/mrs-original-medicare"))
    begun = card["suggestions"][0]["actions"][0]["resource"]
    told = "Medicare pays for MR spectroscopy once a year only."
    assert dict(answers_of(begun["item"]))["reason"]["valueString"] == told
    assert f'E: "{told}"' in card["detail"]
    assert "investigational" not in card["detail"]


@PROGRAMS
def test_what_is_said_last_is_one_paragraph_without_a_stray_line_break(
    client: FlaskClient, fixture: Read, name: str
) -> None:
    detail = notice_card(client, fixture(f"order-sign/{name}"))["detail"]
    assert detail.rpartition("\n\n")[2] == (
        "The button only adds a to-do; without it, do the steps above by hand. "
        "This card is information, not a coverage decision."
    )
    assert "\n\n\n" not in detail
