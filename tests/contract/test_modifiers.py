"""Billing codes with modifiers: the same service, and the modifier kept in what is stated."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import parts, stated
from tests.contract.calls import Json, answer, call_of

MA = "order-sign/mrs-medicare-advantage"
CPT = "http://www.ama-assn.org/go/cpt"


def coded(code: str, version: str = "2.0", system: str = CPT) -> Json:
    request = call_of(MA, version)
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    order["code"] = {"coding": [{"system": system, "code": code}], "text": "MR spectroscopy"}
    return request


def said(answered: Json) -> tuple[list[str], list[Any]]:
    (statement,) = stated(answered)
    return [c["summary"] for c in answered["cards"]], parts(statement, "covered")


@pytest.mark.requirement("crd-2.2.1:found-9", "crd-2.2.1:found-10", "crd-2.0.1:23")
@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize(
    ("code", "expression"),
    [("76390:26", "76390:26"), ("76390:TC,59", "76390:TC,59"), ("76390-26", "76390:26")],
)
def test_a_component_of_a_service_is_answered_as_the_service(
    client: FlaskClient, code: str, expression: str, version: str
) -> None:
    answered = answer(client, coded(code, version))
    assert said(answered) == said(answer(client, coded("76390", version)))
    (statement,) = stated(answered)
    billing = parts(statement, "billingCode")
    assert [b["code"] for b in billing] == [expression]
    (action,) = answered["systemActions"]
    assert action["resource"]["code"]["coding"][0]["code"] == code


def test_a_code_of_which_no_policy_speaks_keeps_its_modifier_too(client: FlaskClient) -> None:
    (statement,) = stated(answer(client, coded("70551:26")))
    assert [b["code"] for b in parts(statement, "billingCode")] == ["70551:26"]


def test_a_cpt_code_under_hcpcs_is_the_same_code(client: FlaskClient) -> None:
    hcpcs = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
    answered = answer(client, coded("76390", system=hcpcs))
    assert said(answered) == said(answer(client, coded("76390")))


def test_another_modifier_is_another_statement(client: FlaskClient) -> None:
    ids = {
        parts(next(stated(answer(client, coded(code)))), "coverage-assertion-id")[0]
        for code in ("76390", "76390:26", "76390:TC", "76390-26")
    }
    assert len(ids) == 3


def test_forms_are_given_for_a_code_with_a_modifier(client: FlaskClient) -> None:
    request = coded("76390:26")
    order = request["context"]["draftOrders"]["entry"][0]["resource"]
    coverage = request["prefetch"]["coverage"]["entry"][0]["resource"]
    payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
    coverage["contained"], coverage["payor"] = [payer], [{"reference": f"#{payer['id']}"}]
    reply = client.post(
        "/fhir/Questionnaire/$questionnaire-package",
        json={
            "resourceType": "Parameters",
            "parameter": [
                {"name": "coverage", "resource": coverage},
                {"name": "order", "resource": order},
            ],
        },
    )
    assert reply.status_code == 200
    bundles = [p for p in reply.get_json()["parameter"] if "resource" in p]
    assert any(p["resource"]["resourceType"] == "Bundle" for p in bundles)
