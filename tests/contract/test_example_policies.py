"""The example policies, met by hooks and by DTR: facts decide, missing ones are named, forms close
the loop.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models
from flask.testing import FlaskClient

from cards.brevity import MORE
from service.bootstrap.app import RECORDER, create_app
from tests.conftest import FIXTURES, NOW, ROOT, fixture_text, in_folder
from tests.contract.answer_rules import check_answer, kinds, parts, stated
from tests.contract.calls import answer, asking, change_orders, coverage_of
from tests.contract.guides import CRD_PROFILES, crd_2_0, needs_crd_2_0
from tests.contract.test_coverage_information_rules import plainly

Json = dict[str, Any]

EXAMPLES = ROOT / "examples" / "policies"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
CPT = "http://www.ama-assn.org/go/cpt"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
VERSIONS = ("2.0", "2.2")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """The service with the example policies: one setting names them and their payer."""
    app = create_app(in_folder(tmp_path_factory.mktemp("r"), policies_dir=EXAMPLES), lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def order_of(
    system: str, code: str, *diagnoses: str, fixture: str = "order-sign/mrs-medicare-advantage"
) -> Json:
    """A fixture's request, its order for another service and for other reasons."""
    request: Json = json.loads(fixture_text(FIXTURES / f"{fixture}.json"))

    def change(order: Json) -> None:
        order["code"] = {"coding": [{"system": system, "code": code}]}
        order["reasonCode"] = [{"coding": [{"system": ICD, "code": d}]} for d in diagnoses]
        if not diagnoses:
            del order["reasonCode"]

    return change_orders(request, change)


def with_data(request: Json, *resources: Json) -> Json:
    """The request with further resources in its prefetch."""
    changed = copy.deepcopy(request)
    entries = [{"resource": r} for r in resources]
    changed["prefetch"]["more"] = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    return changed


def saturation(percent: float, day: str) -> Json:
    return {
        "resourceType": "Observation",
        "id": "saturation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "59408-5"}]},
        "subject": {"reference": "Patient/ann"},
        "effectiveDateTime": day,
        "valueQuantity": {
            "value": percent,
            "unit": "%",
            "system": "http://unitsofmeasure.org",
            "code": "%",
        },
    }


def said(client: FlaskClient, request: Json, version: str = "2.2") -> Json:
    """The one coverage information of an answer that keeps the rules of its version."""
    body = answer(client, asking(request, version))
    check_answer(body)
    (info,) = stated(body)
    return info


def completed(package: Json, **answers: Json) -> Json:
    """The response begun in a package, completed by these answers."""
    response = next(
        entry["resource"]
        for parameter in package["parameter"]
        for entry in parameter.get("resource", {}).get("entry", ())
        if entry["resource"]["resourceType"] == "QuestionnaireResponse"
    )
    done: Json = copy.deepcopy(response)
    done["status"] = "completed"
    done["id"] = "form-back"
    filled = [{"linkId": k.replace("_", "-"), "answer": [v]} for k, v in answers.items()]
    names = {f["linkId"] for f in filled}
    done["item"] = [i for i in done["item"] if i["linkId"] not in names] + filled
    return done


def packaged(client: FlaskClient, request: Json) -> Json:
    """What DTR gets for the request's order."""
    coverage = coverage_of(request)
    (order,) = (e["resource"] for e in request["context"]["draftOrders"]["entry"])
    body = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "coverage", "resource": coverage},
            {"name": "order", "resource": order},
        ],
    }
    reply = client.post("/fhir/Questionnaire/$questionnaire-package", json=body)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    package: Json = reply.get_json()
    return package


@pytest.mark.parametrize("version", VERSIONS)
def test_a_red_flag_is_covered_without_prior_authorization(
    client: FlaskClient, version: str
) -> None:
    info = said(client, order_of(CPT, "72148", "C79.51"), version)
    assert parts(info, "covered") == ["covered"]
    assert parts(info, "pa-needed") == ["no-auth"]
    assert not parts(info, "info-needed")


@pytest.mark.requirement("crd-2.2.1:resp-38")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_answer_is_asked_for_by_the_policys_own_form(
    client: FlaskClient, version: str
) -> None:
    request = order_of(CPT, "72148", "M5450")  # without its dot, as claims write it
    info = said(client, request, version)
    assert parts(info, "covered") == ["conditional"]
    assert parts(info, "doc-needed") == ["clinical"]
    assert parts(info, "doc-purpose") == ["withpa"]
    (form,) = parts(info, "questionnaire")
    assert form.endswith("/conservative-care|1.0.0")
    card, asking_for_it = answer(client, asking(request, version))["cards"]
    assert "Fill in the form: after six weeks" in card["detail"]
    assert "Add the diagnosis" not in card["detail"]
    assert kinds(asking_for_it) == ["form completion"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_to_add_is_read_at_a_glance_and_a_detail_of_the_order(
    client: FlaskClient, version: str
) -> None:
    """Though four facts are missing, and the first paragraph has to make room for their names."""
    body = answer(client, asking(order_of(HCPCS, "E1390"), version))
    glance = body["cards"][0]["detail"].partition(MORE)[0]
    for said in ("Add the diagnosis: covered for", "at 88 % or less", "Fill in the form"):
        assert said in glance
    (info,) = stated(body)
    texts = [
        e.get("valueString", "")
        for detail in info["extension"]
        if detail["url"] == "detail"
        for e in detail["extension"]
    ]
    assert any(text.startswith("Add the diagnosis: covered for") for text in texts)


def form_cards(client: FlaskClient, request: Json, version: str = "2.2") -> list[Json]:
    body = answer(client, asking(request, version))
    check_answer(body)
    return [c for c in body["cards"] if kinds(c) == ["form completion"]]


@pytest.mark.requirement("crd-2.2.1:resp-62", "crd-2.2.1:resp-65")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("system", "code", "diagnosis", "form"),
    [(CPT, "72148", "M54.50", "conservative-care"), (HCPCS, "E1390", "J44.9", "oxygen-need")],
)
def test_a_button_creates_the_task_of_the_policys_own_form(
    client: FlaskClient, version: str, system: str, code: str, diagnosis: str, form: str
) -> None:
    request = order_of(system, code, diagnosis)
    (card,) = form_cards(client, request, version)
    ((action,),) = (s["actions"] for s in card["suggestions"])
    task = action["resource"]
    assert (action["type"], task["resourceType"]) == ("create", "Task")
    named = {i["type"].get("text"): i.get("valueCanonical") for i in task["input"]}
    assert named["questionnaire"].endswith(f"/{form}")
    (asked,) = parts(said(client, request, version), "questionnaire")
    assert asked.startswith(named["questionnaire"] + "|"), "the form that the statement names"
    (order,) = (e["resource"] for e in request["context"]["draftOrders"]["entry"])
    assert task["basedOn"] == [{"reference": f"ServiceRequest/{order['id']}"}]
    codes = {c["code"] for i in task["input"] for c in i["type"].get("coding", ())}
    assert ("after-completion-action" in codes) is (version == "2.0")


def test_once_the_form_is_back_there_is_no_button(client: FlaskClient) -> None:
    request = order_of(CPT, "72148", "M54.50")
    assert form_cards(client, request)
    form = completed(packaged(client, request), weeks_of_care={"valueInteger": 6})
    assert not form_cards(client, with_data(request, form))


def test_where_another_fact_settles_it_there_is_no_button(client: FlaskClient) -> None:
    assert not form_cards(client, order_of(CPT, "72148", "C79.51"))


def test_orders_of_one_answer_share_their_button(client: FlaskClient) -> None:
    request = order_of(CPT, "72148", "M54.50")
    entries = request["context"]["draftOrders"]["entry"]
    again = copy.deepcopy(entries[0])
    again["resource"]["id"] = "again"
    again["resource"]["code"]["coding"][0]["code"] = "72149"
    entries.append(again)
    (card,) = form_cards(client, request)
    ((action,),) = (s["actions"] for s in card["suggestions"])
    assert len(action["resource"]["basedOn"]) == 2


def test_an_ehr_that_finds_forms_by_dtr_gets_no_button(tmp_path: Path) -> None:
    settings = in_folder(tmp_path, policies_dir=EXAMPLES, notice_suggestion="none")
    app = create_app(settings, lambda: NOW)
    try:
        request = order_of(CPT, "72148", "M54.50")
        assert not form_cards(app.test_client(), request)
        assert parts(said(app.test_client(), request), "questionnaire")
    finally:
        app.extensions[RECORDER].stop()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("weeks", "covered", "authorization"), [(6, "covered", "auth-needed"), (5, "not-covered", None)]
)
def test_the_form_comes_back_and_the_same_order_is_settled(
    client: FlaskClient, version: str, weeks: int, covered: str, authorization: str | None
) -> None:
    request = order_of(CPT, "72148", "M54.50")
    form = completed(packaged(client, request), weeks_of_care={"valueInteger": weeks})
    info = said(client, with_data(request, form), version)
    assert parts(info, "covered") == [covered]
    if authorization:
        assert parts(info, "pa-needed") == [authorization]
    assert not parts(info, "questionnaire")


def test_a_form_for_another_order_settles_nothing(client: FlaskClient) -> None:
    request = order_of(CPT, "72148", "M54.50")
    form = completed(packaged(client, request), weeks_of_care={"valueInteger": 6})
    for extension in form["extension"]:
        if extension["url"].endswith("qr-context"):
            extension["valueReference"]["reference"] = "ServiceRequest/another"
    assert parts(said(client, with_data(request, form)), "covered") == ["conditional"]


def test_the_form_is_begun_with_what_facts_tell(client: FlaskClient) -> None:
    request = order_of(HCPCS, "E1390", "J44.9")
    package = packaged(client, request)
    begun = completed(package)
    answers = {i["linkId"]: i["answer"] for i in begun["item"] if "answer" in i}
    assert answers["diagnosis"][0]["valueString"] == "J44.9"
    assert "saturation" not in answers


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recent_value_and_a_form_cover_home_oxygen(client: FlaskClient, version: str) -> None:
    request = order_of(HCPCS, "E1390", "J44.9")
    form = completed(packaged(client, request), treatment_tried={"valueBoolean": True})
    recent = with_data(request, form, saturation(86, "2026-11-20"))
    info = said(client, recent, version)
    assert parts(info, "covered") == ["covered"]
    assert parts(info, "detail")
    old = with_data(request, form, saturation(86, "2026-06-01"))
    assert parts(said(client, old, version), "covered") == ["conditional"]


def test_a_limit_is_a_detail_with_its_category(client: FlaskClient) -> None:
    request = order_of(HCPCS, "E1390", "J44.9")
    form = completed(packaged(client, request), treatment_tried={"valueBoolean": True})
    info = said(client, with_data(request, form, saturation(86, "2026-11-20")))
    details = [e for e in info["extension"] if e["url"] == "detail"]
    (limit,) = (
        d for d in details if {"url": "category", "valueCode": "cat-limitation"} in d["extension"]
    )
    assert {
        "url": "value",
        "valueQuantity": {"value": 12, "system": "http://unitsofmeasure.org", "code": "mo"},
    } in limit["extension"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_diagnosis_outside_the_value_set_is_not_covered_whatever_else_is_unknown(
    client: FlaskClient, version: str
) -> None:
    info = said(client, order_of(HCPCS, "E1390", "I10"), version)
    assert parts(info, "covered") == ["not-covered"]
    assert not parts(info, "info-needed")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_age_decides_on_the_screening_test(client: FlaskClient, version: str) -> None:
    request = order_of(CPT, "82270", "Z12.11")
    request["prefetch"]["patient"]["birthDate"] = "1990-01-01"
    assert parts(said(client, request, version), "covered") == ["not-covered"]
    request["prefetch"]["patient"]["birthDate"] = "1960"
    info = said(client, request, version)
    assert parts(info, "covered") == ["conditional"], "the day of the last test is not told"


def test_an_earlier_test_within_a_year_rules_the_next_one_out(client: FlaskClient) -> None:
    earlier = {
        "resourceType": "Procedure",
        "id": "p",
        "status": "completed",
        "code": {"coding": [{"system": CPT, "code": "82270"}]},
        "subject": {"reference": "Patient/ann"},
        "performedDateTime": "2026-03-01",
    }
    info = said(client, with_data(order_of(CPT, "82270"), earlier))
    assert parts(info, "covered") == ["not-covered"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_code_of_the_list_is_not_covered_as_long_as_it_is_on_it(
    client: FlaskClient, version: str
) -> None:
    assert parts(said(client, order_of(HCPCS, "X0100"), version), "covered") == ["not-covered"]
    ended = said(client, order_of(HCPCS, "X0001"), version)
    assert parts(ended, "covered") == ["conditional"]


@pytest.mark.parametrize(
    "fixture",
    [
        "order-sign/mrs-medicare-advantage",
        "order-select/mrs-selected",
        "order-dispatch/mrs-to-an-imaging-center",
        "encounter-start/mrs-ordered",
        "encounter-discharge/mrs-ordered",
        "appointment-book/appointment-for-an-order",
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_hook_answers_by_facts(client: FlaskClient, fixture: str, version: str) -> None:
    """The order's diagnosis decides, wherever in the call the order stands."""
    text = fixture_text(FIXTURES / f"{fixture}.json")
    text = text.replace('"value": "example-payer"', '"value": "example-health-plan"')
    request = json.loads(text.replace('"76390"', '"72148"').replace('"C71.9"', '"C79.51"'))
    body = answer(client, asking(request, version))
    check_answer(body)
    red_flag = [parts(info, "covered") for info in stated(body)]
    other = json.loads(text.replace('"76390"', '"72148"').replace('"C71.9"', '"M54.50"'))
    body = answer(client, asking(other, version))
    check_answer(body)
    back_pain = [parts(info, "covered") for info in stated(body)]
    if fixture.startswith("encounter"):
        # These state nothing on orders: on the visit alone, by the policy on office visits.
        assert {a["resource"]["resourceType"] for a in body["systemActions"]} == {"Encounter"}
        # Of the order a card says in one line what is.
        assert any("72148" in card["summary"] for card in body["cards"])
    else:
        assert back_pain == [["conditional"]]
        assert red_flag == ([["covered"]] if '"C71.9"' in text else back_pain)


@needs_crd_2_0
@pytest.mark.parametrize(
    "request_",
    [
        order_of(CPT, "72148", "C79.51"),
        order_of(CPT, "72148", "M54.50"),
        order_of(CPT, "72148"),
        order_of(HCPCS, "E1390", "I10"),
        order_of(HCPCS, "E1390"),
        order_of(CPT, "82270"),
        order_of(HCPCS, "X0100"),
    ],
    ids=["red-flag", "back-pain", "no-diagnosis", "hypertension", "oxygen", "screening", "list"],
)
def test_what_rules_say_keeps_the_invariants_of_2_0(client: FlaskClient, request_: Json) -> None:
    profile = crd_2_0().profile(f"{CRD_PROFILES}ext-coverage-information")
    info = said(client, request_, "2.0")
    for constraint in profile.root.definition["constraint"]:
        if constraint["key"].startswith("crd-ci-"):
            expression = plainly(constraint["expression"])
            held = fhirpathpy.evaluate(info, expression, {}, models["r4"])
            assert held in ([True], []), constraint["key"]


def test_an_order_that_carries_the_same_answer_gets_no_other(client: FlaskClient) -> None:
    request = order_of(CPT, "72148", "M54.50")
    (action,) = answer(client, asking(request, "2.2"))["systemActions"]
    again = change_orders(request, lambda order: order.update(action["resource"]))
    assert not answer(client, asking(again, "2.2")).get("systemActions")


def test_the_examples_say_that_they_are_examples() -> None:
    for file in EXAMPLES.glob("*/20*.yaml"):
        if not file.parent.name.startswith("_"):
            assert "an example, and no payer's policy" in file.read_text("utf-8").lower(), file


def test_the_list_has_three_hundred_codes() -> None:
    lines = (EXAMPLES / "_value_sets/non-covered-codes/2026-01-01.csv").read_text().splitlines()
    assert len(lines) == 301
