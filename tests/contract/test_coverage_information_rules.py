"""Coverage information keeps the invariants of both versions, whatever was ordered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models
from flask.testing import FlaskClient

from tests.conftest import FIXTURES, fixture_text
from tests.contract.answer_rules import parts, stated
from tests.contract.guides import CRD_PROFILES, crd_2_0, needs_crd_2_0

REQUESTS = sorted(
    p.relative_to(FIXTURES).as_posix().removesuffix(".json") for p in FIXTURES.glob("*-*/*.json")
)


def answered(client: FlaskClient, name: str, version: str) -> Iterator[dict[str, Any]]:
    """Every coverage information in the answer to a fixture; none where it is refused."""
    request = json.loads(fixture_text(FIXTURES / f"{name}.json"))
    request["extension"] = {"davinci-crd.requestedVersion": version}
    reply = client.post(f"/cds-services/{request['hook']}-crd", json=request)
    if reply.status_code == 200:
        yield from stated(reply.get_json())


@pytest.fixture(scope="module")
def invariants() -> dict[str, str]:
    """CRD 2.0.1's own FHIRPath of crd-ci-q1 to q5, read in place."""
    profile = crd_2_0().profile(f"{CRD_PROFILES}ext-coverage-information")
    return {
        c["key"]: plainly(c["expression"])
        for c in profile.root.definition["constraint"]
        if c["key"].startswith("crd-ci-")
    }


def plainly(expression: str) -> str:
    """The same FHIRPath for an evaluator that wants two things said: that a collection of one is
    true by itself, and that "implies" binds weakest.
    """
    said = re.sub(r"(where\([^()]*\)) (implies|and)", r"\1.exists() \2", expression)
    return " implies ".join(f"({side})" for side in said.split(" implies "))


@pytest.mark.requirement("crd-2.0.1:24")
@pytest.mark.parametrize("name", REQUESTS)
def test_in_2_0_no_authorization_is_said_to_be_needless_where_something_may_be_covered(
    client: FlaskClient, name: str
) -> None:
    # No policy speaks of prior authorization. "no-auth" is for crd-ci-q2, and said only where the
    # coverage itself is none: a plan that decides on request may still be asked, unless it has
    # approved already.
    for statement in answered(client, name, "2.0"):
        none = any("not active" in str(reason) for reason in parts(statement, "reason"))
        needed = "no-auth" if none else "conditional"
        if parts(statement, "satisfied-pa-id"):
            needed = "satisfied"
        assert parts(statement, "pa-needed") == [needed]


@needs_crd_2_0
@pytest.mark.parametrize("name", REQUESTS)
def test_in_2_0_every_statement_keeps_the_invariants_of_the_profile(
    client: FlaskClient, invariants: dict[str, str], name: str
) -> None:
    assert len(invariants) == 5
    for statement in answered(client, name, "2.0"):
        keeps(invariants, statement)


def keeps(invariants: dict[str, str], statement: dict[str, Any]) -> None:
    """Assert the invariants of CRD 2.0.1's profile."""
    for key, expression in invariants.items():
        result = fhirpathpy.evaluate(statement, expression, model=models["r4"])
        assert False not in result, (key, statement)


@pytest.mark.requirement("crd-2.2.1:resp-38", "crd-2.2.1:found-4")
@pytest.mark.parametrize("name", REQUESTS)
def test_in_2_2_every_statement_keeps_that_versions_invariants(
    client: FlaskClient, name: str
) -> None:
    for statement in answered(client, name, "2.2"):
        keeps_the_invariants_of_2_2(statement)


def keeps_the_invariants_of_2_2(statement: dict[str, Any]) -> None:
    """Assert crd-ci-q1 to q8 of CRD 2.2.1."""
    told = {p["url"] for p in statement["extension"]}
    covered, pa_needed = parts(statement, "covered"), parts(statement, "pa-needed")
    documents = parts(statement, "doc-needed")
    purposes = parts(statement, "doc-purpose")
    assert "questionnaire" not in told or documents  # q1
    assert covered != ["not-covered"] or not pa_needed  # q2
    conditional = "conditional" in [*covered, *pa_needed, *documents]
    assert ("info-needed" in told) == conditional  # q3
    assert "withpa" not in purposes or pa_needed == ["auth-needed"]  # q4
    assert ("satisfied-pa-id" in told) == (pa_needed == ["satisfied"])  # q5
    assert "OTH" not in parts(statement, "info-needed") or "reason" in told  # q6
    for reason in parts(statement, "reason"):
        assert reason["text"]  # q7
    assert not purposes or "reason" in told  # q8
    assert "response" not in told
    for detail in parts(statement, "detail"):
        assert parts(detail, "category") == ["cat-other"]
        assert len(parts(detail, "code")) == len(parts(detail, "value")) == 1


@pytest.mark.requirement("crd-2.2.1:resp-38", "crd-2.0.1:13", "crd-2.0.1:14", "crd-2.0.1:269")
@pytest.mark.parametrize(
    ("name", "version", "needed", "purpose", "form"),
    [
        ("mrs-original-medicare", "2.0", "admin", "OTH", "abn-record|1.2.0"),
        ("mrs-original-medicare", "2.2", "patient", "OTH", "abn-record|1.2.0"),
        (
            "mrs-medicare-advantage",
            "2.0",
            "clinical",
            "OTH",
            "organization-determination-request|1.3.0",
        ),
        (
            "mrs-medicare-advantage",
            "2.2",
            "clinical",
            "OTH",
            "organization-determination-request|1.3.0",
        ),
    ],
)
def test_a_dtr_client_finds_the_form_with_its_version_and_what_it_is_for(
    client: FlaskClient, name: str, version: str, needed: str, purpose: str, form: str
) -> None:
    (statement,) = answered(client, f"order-sign/{name}", version)
    assert parts(statement, "doc-needed") == [needed]
    assert parts(statement, "doc-purpose") == [purpose]
    (canonical,) = parts(statement, "questionnaire")
    assert canonical.endswith(f"/fhir/Questionnaire/{form}")
    assert (
        client.get("/fhir/Questionnaire", query_string={"url": canonical}).get_json()["total"] == 1
    )
    reasons = " ".join(r["text"] for r in parts(statement, "reason"))
    assert "ABN" in reasons or "organization determination" in reasons
