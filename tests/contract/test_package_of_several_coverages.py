"""$questionnaire-package under several coverages: as DTR 2.0.1 has it, and 2.2 has not."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
from fhir.resources.R4B.bundle import Bundle
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, ROOT, in_folder
from tests.contract.calls import Json, call_of, change_orders, coverage_of
from tests.contract.test_questionnaire_package import (
    DTR,
    asked,
    bundles,
    issues,
    told,
)

PACKAGE = "Questionnaire/$questionnaire-package"
MA, MEDICARE = "organization-determination-request", "abn-record"
ICD = "http://hl7.org/fhir/sid/icd-10-cm"
CPT = "http://www.ama-assn.org/go/cpt"


@pytest.fixture(scope="module")
def with_forms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """The service with the example policies, which have forms of their own."""
    app = create_app(
        in_folder(
            tmp_path_factory.mktemp("several"),
            added_policies_dir=ROOT / "examples" / "policies",
            payers_file=ROOT / "examples" / "inferno" / "payers.yaml",
        ),
        clock=lambda: NOW,
    )
    yield app.test_client()
    app.extensions[RECORDER].stop()


def covered_twice(code: str = "76390", *more: tuple[str, Json]) -> Json:
    """A member of Medicare Advantage whose EHR sends an Original Medicare coverage as well."""
    request = change_orders(
        call_of("order-sign/mrs-medicare-advantage"),
        lambda order: (
            order.pop("insurance", None),
            order.update(
                code={"coding": [{"system": CPT, "code": code}]},
                reasonCode=[{"coding": [{"system": ICD, "code": "M54.50"}]}],
            ),
        ),
    )
    first = coverage_of(request)
    second = copy.deepcopy(first)
    first["payor"] = of_payer("example-health-plan")
    second["payor"] = of_payer("example-payer")
    second["id"] = "original"
    second["type"]["coding"][0]["code"] = "121"
    return asked(request, ("coverage", second), *more)


def of_payer(value: str) -> list[Json]:
    return [{"identifier": {"system": "urn:oid:2.999.7.1", "value": value}}]


def alike(body: Json) -> Json:
    """The same call, its second coverage of the same program and payer."""
    first, second = coverages(body)
    second["type"], second["payor"] = first["type"], first["payor"]
    second["identifier"][0]["value"] = second["subscriberId"] = "TEST-MEMBER-0002"
    return body


def coverages(body: Json) -> list[Json]:
    return [p["resource"] for p in body["parameter"] if p["name"] == "coverage"]


def post(client: FlaskClient, body: Json, version: str = "2.0") -> Json:
    reply = client.post(f"/fhir/{version}/{PACKAGE}", json=body)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    output: Json = reply.get_json()
    for bundle in found(output):
        Bundle.model_validate(bundle)
    return output


def found(output: Json) -> list[Json]:
    return [output] if output["resourceType"] == "Bundle" else bundles(output)


def responses(bundle: Json) -> list[Json]:
    resources = [e["resource"] for e in bundle["entry"]]
    return [r for r in resources if r["resourceType"] == "QuestionnaireResponse"]


def context(response: Json) -> set[str]:
    return {
        e["valueReference"]["reference"]
        for e in response["extension"]
        if e["url"] == DTR + "qr-context"
    }


@pytest.mark.form_rule("dtr-coverages")
def test_each_coverage_gets_the_forms_of_its_program(client: FlaskClient) -> None:
    output = post(client, covered_twice())
    forms = {b["entry"][0]["resource"]["id"]: responses(b) for b in found(output)}
    assert forms.keys() == {MA, MEDICARE}
    ((ma,), (medicare,)) = (forms[MA], forms[MEDICARE])
    assert context(ma) == {"ServiceRequest/mrs-brain", "Coverage/ma-ann"}
    assert context(medicare) == {"ServiceRequest/mrs-brain", "Coverage/original"}


@pytest.mark.form_rule("dtr-coverages")
def test_a_form_of_both_comes_once_with_a_response_for_each(client: FlaskClient) -> None:
    (bundle,) = found(post(client, alike(covered_twice())))
    both = responses(bundle)
    assert [context(r) for r in both] == [
        {"ServiceRequest/mrs-brain", "Coverage/ma-ann"},
        {"ServiceRequest/mrs-brain", "Coverage/original"},
    ]
    numbers = [dict(told(r))["member-id"] for r in both]
    assert numbers == ["TEST-MEMBER-0001", "TEST-MEMBER-0002"]
    assert len({r["id"] for r in both}) == 2
    urls = [e["fullUrl"] for e in bundle["entry"]]
    assert len(urls) == len(set(urls))


def test_an_order_that_names_its_coverage_is_for_that_one_alone(client: FlaskClient) -> None:
    body = covered_twice()
    for parameter in body["parameter"]:
        if parameter["name"] == "order":
            parameter["resource"]["insurance"] = [{"reference": "Coverage/original"}]
    (bundle,) = found(post(client, body))
    assert bundle["entry"][0]["resource"]["id"] == MEDICARE
    assert [context(r) for r in responses(bundle)] == [
        {"ServiceRequest/mrs-brain", "Coverage/original"}
    ]


def test_a_coverage_that_cannot_be_used_is_told_and_the_other_is_answered(
    client: FlaskClient,
) -> None:
    body = covered_twice()
    coverages(body)[1]["status"] = "cancelled"
    output = post(client, body)
    assert [b["entry"][0]["resource"]["id"] for b in found(output)] == [MA]
    (issue,) = issues(output)
    assert issue["severity"] == "warning"
    place = next(
        i for i, p in enumerate(body["parameter"]) if p["resource"].get("id") == "original"
    )
    assert issue["expression"] == [f"parameter[{place}].resource"]


def test_a_form_asked_for_by_name_without_an_order_has_a_response_for_each(
    client: FlaskClient,
) -> None:
    named = {"valueCanonical": f"https://covercard.example/fhir/Questionnaire/{MA}"}
    body = covered_twice("76390", ("questionnaire", named))
    body["parameter"] = [p for p in body["parameter"] if p["name"] != "order"]
    (bundle,) = found(post(client, body))
    assert [context(r) for r in responses(bundle)] == [{"Coverage/ma-ann"}, {"Coverage/original"}]


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_policys_own_form_is_begun_for_each_coverage(
    with_forms: FlaskClient, adaptive: bool
) -> None:
    url = "https://covercard.example/fhir/Questionnaire/conservative-care"
    more = [("questionnaire", {"valueCanonical": url + "-adaptive"})] if adaptive else []
    (bundle,) = found(post(with_forms, alike(covered_twice("72148", *more))))
    assert len(responses(bundle)) == 2
    for response in responses(bundle):
        contained = response.get("contained", [])
        assert bool(contained) is adaptive
    if adaptive:
        step = copy.deepcopy(responses(bundle)[1])
        reply = with_forms.post("/fhir/2.0/Questionnaire/$next-question", json=step)
        assert reply.status_code == 200, reply.get_data(as_text=True)


@pytest.mark.parametrize("address", ["/fhir/2.2", "/fhir"])
def test_2_2_has_one_coverage_and_says_so(client: FlaskClient, address: str) -> None:
    reply = client.post(f"{address}/{PACKAGE}", json=covered_twice())
    assert reply.status_code == 422
    (issue,) = reply.get_json()["issue"]
    assert "exactly one parameter coverage, as DTR 2.2 has it" in issue["diagnostics"]


def test_where_the_caller_tells_2_0_no_address_is_needed(client: FlaskClient) -> None:
    body = covered_twice()
    profile = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/dtr-qpackage-input-parameters"
    body["meta"] = {"profile": [f"{profile}|2.0.1"]}
    reply = client.post(f"/fhir/{PACKAGE}", json=body)
    assert reply.status_code == 200
    assert len(bundles(reply.get_json())) == 2


def test_coverages_of_two_patients_or_one_twice_are_refused_with_the_place(
    client: FlaskClient,
) -> None:
    body = covered_twice()
    coverages(body)[1]["beneficiary"] = {"reference": "Patient/somebody-else"}
    reply = client.post(f"/fhir/2.0/{PACKAGE}", json=body)
    assert reply.status_code == 422
    assert "of one patient" in reply.get_json()["issue"][0]["diagnostics"]
    assert reply.get_json()["issue"][0]["expression"][0].endswith(".beneficiary")
    body = covered_twice()
    coverages(body)[1]["id"] = coverages(body)[0]["id"]
    reply = client.post(f"/fhir/2.0/{PACKAGE}", json=body)
    assert reply.status_code == 422
    assert "each coverage once" in reply.get_json()["issue"][0]["diagnostics"]


def test_orders_are_each_answered_under_each_coverage(client: FlaskClient) -> None:
    body = alike(covered_twice())
    first, second = coverages(body)
    (order,) = (p["resource"] for p in body["parameter"] if p["name"] == "order")
    another = {**copy.deepcopy(order), "id": "another"}
    body["parameter"].append({"name": "order", "resource": another})
    (bundle,) = found(post(client, body))
    assert [context(r) for r in responses(bundle)] == [
        {"ServiceRequest/mrs-brain", "ServiceRequest/another", f"Coverage/{coverage['id']}"}
        for coverage in (first, second)
    ]
