"""$next-question: an adaptive form from its package to its end, in both versions of DTR."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.questionnaire import Questionnaire
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, ROOT, in_folder
from tests.contract.answer_rules import parts
from tests.contract.test_example_policies import (
    CPT,
    HCPCS,
    ICD,
    order_of,
    said,
    saturation,
    with_data,
)
from tests.contract.test_package_contents import resources
from tests.contract.test_questionnaire_package import DTR, asked

Json = dict[str, Any]
CANONICAL = "https://covercard.example/fhir/Questionnaire/conservative-care-adaptive"
OXYGEN = "https://covercard.example/fhir/Questionnaire/oxygen-need"
ADAPTIVE = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-questionnaireAdaptive"
VERSIONS = ("2.0", "2.2")
WEEKS = {"linkId": "weeks-of-care", "text": "For how many weeks?"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    folder = tmp_path_factory.mktemp("next")
    app = create_app(
        in_folder(folder, policies_dir=ROOT / "examples" / "policies"), clock=lambda: NOW
    )
    yield app.test_client()
    app.extensions[RECORDER].stop()


Begin = Callable[..., tuple[Json, Json]]
Next = Callable[..., Json]


@pytest.fixture
def begin(client: FlaskClient) -> Begin:
    """The first form and the response of a package for a scan with these diagnoses."""

    def package(version: str, *diagnoses: str, orders: bool = True) -> tuple[Json, Json]:
        request = order_of(CPT, "72148", *diagnoses)
        payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
        form = ("questionnaire", {"valueCanonical": CANONICAL})
        body = asked(request, ("referenced", payer), form, orders=orders)
        url = f"/fhir/{version}/Questionnaire/$questionnaire-package"
        reply = client.post(url, json=body)
        assert reply.status_code == 200, reply.get_data(as_text=True)
        first, response = resources(reply.get_json())
        Questionnaire.model_validate(first)
        QuestionnaireResponse.model_validate(response)
        return first, response

    return package


@pytest.fixture
def go_on(client: FlaskClient) -> Next:
    def post(version: str, response: Json) -> Json:
        url = f"/fhir/{version}/Questionnaire/$next-question"
        reply = client.post(url, json=response)
        assert reply.status_code == 200, reply.get_data(as_text=True)
        assert reply.headers["Cache-Control"] == "no-store"
        back: Json = reply.get_json()
        QuestionnaireResponse.model_validate(back)
        return back

    return post


def refused(client: FlaskClient, response: Any, version: str = "2.2") -> Json:
    """The only issue of a call that is a 400."""
    reply = client.post(f"/fhir/{version}/Questionnaire/$next-question", json=response)
    assert reply.status_code == 400, reply.get_data(as_text=True)
    OperationOutcome.model_validate(reply.get_json())
    issue: Json = reply.get_json()["issue"][0]
    return issue


def contained(response: Json) -> Json:
    (questionnaire,) = response["contained"]
    assert response["questionnaire"] == f"#{questionnaire['id']}"
    found: Json = questionnaire
    return found


def links(items: list[Json]) -> list[str]:
    return [link for i in items for link in [i["linkId"], *links(i.get("item", []))]]


def with_weeks(response: Json, *weeks: Any, element: str = "valueInteger") -> Json:
    """The response with the weeks of care, in the group that the client puts around it."""
    changed = copy.deepcopy(response)
    origin = {"url": "source", "valueCode": "manual"}
    answers = [
        {"extension": [{"url": DTR + "information-origin", "extension": [origin]}], element: w}
        for w in weeks
    ]
    item = {**WEEKS, "answer": answers}
    changed["item"] = [{"linkId": "care", "text": "Conservative care", "item": [item]}]
    return changed


def test_a_response_comes_back_with_the_items_that_were_sent(begin: Begin, go_on: Next) -> None:
    _, response = begin("2.2", "M54.50")
    assert "item" not in go_on("2.2", response)


@pytest.mark.form_rule("dtr-adaptive-search")
@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_form_names_the_address_of_its_version_and_the_response_contains_its_own(
    begin: Begin, version: str
) -> None:
    first, response = begin(version, "M54.50")
    address = next(e["valueUrl"] for e in first["extension"] if e["url"] == ADAPTIVE)
    assert address == f"http://127.0.0.1:8642/fhir/{version}"
    assert first["url"] == CANONICAL
    assert ("item" in first) == (version == "2.0")
    questionnaire = contained(response)
    assert questionnaire["derivedFrom"] == [f"{CANONICAL}|{first['version']}"]
    assert questionnaire["version"] == first["version"]
    assert questionnaire.get("url") == (CANONICAL if version == "2.2" else None)
    assert links(questionnaire.get("item", [])) == links(first.get("item", []))
    assert response["status"] == "in-progress"


@pytest.mark.form_rule("dtr-next-question")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("weeks", [2, 8])
def test_a_form_asks_what_decides_and_ends(
    begin: Begin, go_on: Next, version: str, weeks: int
) -> None:
    _, response = begin(version, "M54.50")
    response = go_on(version, response)
    assert response["status"] == "in-progress"
    # The kind of care decides nothing, and is not asked.
    assert links(contained(response)["item"]) == ["care", "weeks-of-care"]
    end = go_on(version, with_weeks(response, weeks))
    assert end["status"] == "completed"
    assert end["item"] == with_weeks(response, weeks)["item"]


@pytest.mark.form_rule("dtr-next-question")
@pytest.mark.parametrize("version", VERSIONS)
def test_where_the_order_settles_the_answer_nothing_is_asked(
    begin: Begin, go_on: Next, version: str
) -> None:
    _, response = begin(version, "C41.2")  # a red flag
    end = go_on(version, response)
    assert end["status"] == "completed"
    assert "item" not in contained(end)


@pytest.mark.form_rule("dtr-next-question")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("tried", "covered"), [(True, "covered"), (False, "not-covered")])
def test_what_the_chart_told_is_not_asked_again_to_open_a_group(
    client: FlaskClient, go_on: Next, version: str, tried: bool, covered: str
) -> None:
    chart = saturation(86, "2026-11-20")
    request = with_data(order_of(HCPCS, "E1390", "J44.9"), chart)
    payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
    named = ("questionnaire", {"valueCanonical": f"{OXYGEN}-adaptive"})
    body = asked(request, ("referenced", payer), ("referenced", chart), named)
    url = f"/fhir/{version}/Questionnaire/$questionnaire-package"
    package = resources(client.post(url, json=body).get_json())
    (response,) = (r for r in package if r["resourceType"] == "QuestionnaireResponse")
    response = go_on(version, response)
    (group,) = contained(response)["item"]
    assert links([group]) == ["treatment", "treatment-tried"]
    # Its condition, a saturation, is fulfilled: a client without the question would hide it.
    assert "enableWhen" not in group
    answered = {"linkId": "treatment-tried", "answer": [{"valueBoolean": tried}]}
    # What must be answered is waited for, as in the full form.
    assert go_on(version, response)["status"] == "in-progress"
    response["item"] = [{"linkId": "treatment", "item": [answered]}]
    done = go_on(version, response)
    assert done["status"] == "completed"
    again = with_data(request, chart, {**done, "id": "done"})
    assert parts(said(client, again, version), "covered") == [covered]


def test_without_an_order_every_question_that_any_policy_needs_is_asked(
    begin: Begin, go_on: Next
) -> None:
    _, response = begin("2.2", "M54.50", orders=False)
    assert "useContext" not in contained(response)
    assert links(contained(go_on("2.2", response))["item"]) == ["care", "weeks-of-care"]


def test_the_form_says_for_which_policy_and_facts_it_was_begun(begin: Begin) -> None:
    _, response = begin("2.2", "M54.50")
    told = {u["code"]["code"]: u for u in contained(response)["useContext"]}
    concept = "valueCodeableConcept"
    assert told["policy"][concept]["text"] == "lumbar-mri|2026-01-01"
    assert told["program"][concept]["text"] == "medicare_advantage"
    assert told["order.reason"][concept]["coding"] == [{"system": ICD, "code": "M54.50"}]
    assert date.fromisoformat(told["order.day"][concept]["text"])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_parameters_resource_around_the_response_is_read_too(
    client: FlaskClient, begin: Begin, version: str
) -> None:
    _, response = begin(version, "M54.50")
    parameter = {"name": "questionnaire-response", "resource": response}
    body = {"resourceType": "Parameters", "parameter": [parameter]}
    reply = client.post(f"/fhir/{version}/Questionnaire/$next-question", json=body)
    assert reply.get_json()["resourceType"] == "QuestionnaireResponse"


def test_at_the_address_of_both_versions_a_form_goes_on_in_that_of_the_setting(
    client: FlaskClient, begin: Begin
) -> None:
    _, response = begin("2.2", "M54.50")
    reply = client.post("/fhir/Questionnaire/$next-question", json=response)
    questionnaire = contained(reply.get_json())
    address = next(e["valueUrl"] for e in questionnaire["extension"] if e["url"] == ADAPTIVE)
    assert address.endswith("/fhir/2.2")


Change = Callable[[Json], None]


def _another_text(response: Json) -> None:
    contained(response)["item"][0]["item"][0]["text"] = "For how many days?"


def _not_required(response: Json) -> None:
    del contained(response)["item"][0]["item"][0]["required"]


def _invented(response: Json) -> None:
    contained(response)["item"].append({"linkId": "extra", "text": "x", "type": "string"})


def _another_type(response: Json) -> None:
    contained(response)["item"][0]["item"][0]["type"] = "decimal"


def _unknown_form(response: Json) -> None:
    contained(response)["derivedFrom"] = ["https://elsewhere.example.org/Questionnaire/x|1"]


def _older_form(response: Json) -> None:
    contained(response)["derivedFrom"] = [f"{CANONICAL}|0.9.0"]


def _unknown_policy(response: Json) -> None:
    contained(response)["useContext"][0]["valueCodeableConcept"]["text"] = "no-policy|2026-01-01"


def _unknown_program(response: Json) -> None:
    contained(response)["useContext"][1]["valueCodeableConcept"]["text"] = "no-program"


def _spoiled_fact(response: Json) -> None:
    for usage in contained(response)["useContext"]:
        if usage["code"]["code"] == "order.day":
            usage["valueCodeableConcept"]["text"] = "some day"


def _masses_of_codes(response: Json) -> None:
    codings = [{"system": "s", "code": f"c{n}"} for n in range(1001)]
    usage = contained(response)["useContext"][0]["code"]
    made = {"code": {**usage, "code": "order.reason"}, "valueCodeableConcept": {"coding": codings}}
    contained(response)["useContext"].append(made)


def _no_reference(response: Json) -> None:
    response["questionnaire"] = CANONICAL


def _stopped(response: Json) -> None:
    response["status"] = "stopped"


@pytest.mark.form_rule("dtr-forged-form")
@pytest.mark.threat("forged-form")
@pytest.mark.parametrize(
    ("change", "place"),
    [
        (_another_text, "contained[0].item[0].item[0]"),
        (_not_required, "contained[0].item[0].item[0]"),
        (_another_type, "contained[0].item[0].item[0]"),
        (_invented, "contained[0].item[1]"),
        (_unknown_form, "contained[0].derivedFrom"),
        (_older_form, "contained[0].derivedFrom"),
        (_unknown_policy, "contained[0].useContext[0]"),
        (_unknown_program, "contained[0].useContext[1]"),
        (_spoiled_fact, "contained[0].useContext["),
        (_masses_of_codes, "contained[0].useContext["),
        (_no_reference, "questionnaire"),
        (_stopped, "status"),
    ],
)
def test_a_changed_form_is_refused_with_the_item(
    client: FlaskClient, begin: Begin, go_on: Next, change: Change, place: str
) -> None:
    _, response = begin("2.2", "M54.50")
    response = go_on("2.2", response)
    change(response)
    assert refused(client, response)["expression"][0].startswith(place)


@pytest.mark.form_rule("dtr-forged-form")
@pytest.mark.parametrize(
    ("answered", "place"),
    [
        (lambda r: with_weeks(r, "eight"), "item[0].item[0].answer[0]"),
        (lambda r: with_weeks(r, True), "item[0].item[0].answer[0]"),
        (lambda r: with_weeks(r, 8, element="valueDecimal"), "item[0].item[0].answer[0]"),
        (lambda r: with_weeks(r, 8, 9), "item[0].item[0].answer"),
        (lambda r: {**r, "item": [{"linkId": "kind-of-care"}]}, "item[0]"),
        (lambda r: {**r, "item": [{"text": "no linkId"}]}, "item[0]"),
    ],
)
def test_an_answer_that_its_item_does_not_allow_is_refused_with_its_place(
    client: FlaskClient, begin: Begin, go_on: Next, answered: Callable[[Json], Json], place: str
) -> None:
    _, response = begin("2.2", "M54.50")
    response = go_on("2.2", response)
    assert refused(client, answered(response))["expression"] == [place]


@pytest.mark.parametrize(
    "body",
    [
        {"resourceType": "Patient"},
        {"resourceType": "Parameters", "parameter": []},
        {"resourceType": "QuestionnaireResponse", "status": "in-progress"},
        {
            "resourceType": "QuestionnaireResponse",
            "status": "in-progress",
            "questionnaire": "#q",
            "contained": [{"resourceType": "Questionnaire", "id": "q", "status": "draft"}],
        },
    ],
)
def test_what_is_no_adaptive_form_is_refused(client: FlaskClient, body: Json) -> None:
    assert refused(client, body)["severity"] == "error"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_may_write_ids_into_the_form(begin: Begin, go_on: Next, version: str) -> None:
    _, response = begin(version, "M54.50")
    response = go_on(version, response)
    contained(response)["item"][0]["id"] = "an-id-of-the-clients"
    assert go_on(version, with_weeks(response, 8))["status"] == "completed"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_form_is_read_at_its_own_address(client: FlaskClient, version: str) -> None:
    form = client.get(f"/fhir/{version}/Questionnaire/conservative-care-adaptive").get_json()
    assert form["url"] == CANONICAL
    assert "item" not in form


@pytest.mark.form_rule("dtr-adaptive-closes")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("weeks", "covered"), [(8, "covered"), (2, "not-covered")])
def test_the_order_signed_again_with_the_completed_form_gets_its_answer(
    client: FlaskClient, begin: Begin, go_on: Next, version: str, weeks: int, covered: str
) -> None:
    _, response = begin(version, "M54.50")
    done = go_on(version, with_weeks(go_on(version, response), weeks))
    request = with_data(order_of(CPT, "72148", "M54.50"), {**done, "id": "done"})
    assert parts(said(client, request, version), "covered") == [covered]
