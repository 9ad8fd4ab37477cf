"""The EHR stub for testers: `covercard ehr`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from flask.testing import FlaskClient

from service.cli import cli
from service.cli.ehr_stub.fhir_server import DEMO_TOKEN, create_stub
from service.cli.ehr_stub.resource_store import ResourceStore
from service.errors import ConfigurationError
from tests.conftest import FIXTURES, ROOT, fixture_text_today
from tests.e2e.fetch.conftest import Ask, bare
from tests.e2e.fetch.ehrs import Ehr

BASE = "http://127.0.0.1:8643/fhir"
TOKEN = {"Authorization": f"Bearer {DEMO_TOKEN}"}


@pytest.fixture(scope="module")
def store() -> ResourceStore:
    return ResourceStore(FIXTURES / "resources")


@pytest.fixture
def stub(store: ResourceStore) -> FlaskClient:
    return create_stub(store, BASE).test_client()


def ids(stub: FlaskClient, query: str) -> list[str]:
    """What a search finds, as "Type/id", matches and included."""
    reply = stub.get(f"/fhir/{query}", headers=TOKEN)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    Bundle.model_validate(reply.get_json())
    found = [e["resource"] for e in reply.get_json().get("entry", [])]
    return sorted(f"{r['resourceType']}/{r['id']}" for r in found)


@pytest.mark.parametrize("authorization", [{}, {"Authorization": "Bearer other"}])
def test_without_the_demo_token_nothing_is_told(
    authorization: dict[str, str], stub: FlaskClient
) -> None:
    for path in ("/fhir/Patient/ann", "/fhir/Coverage?patient=ann", "/fhir/nothing"):
        reply = stub.get(path, headers=authorization)
        assert reply.status_code == 401
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        assert reply.get_json()["resourceType"] == "OperationOutcome"


def test_an_open_stub_asks_for_no_token(store: ResourceStore) -> None:
    client = create_stub(store, BASE, token=None).test_client()
    assert client.get("/fhir/Patient/ann").status_code == 200


def test_a_resource_is_read_as_in_its_file(stub: FlaskClient, store: ResourceStore) -> None:
    reply = stub.get("/fhir/Coverage/ma-ann", headers=TOKEN)
    assert reply.content_type == "application/fhir+json"
    assert reply.get_json() == store.read("Coverage", "ma-ann")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("Coverage?patient=bo&status=active", ["Coverage/om-bo"]),
        ("Coverage?patient=Patient/bo", ["Coverage/om-bo"]),
        (
            "Coverage?patient=bo&status=active&_include=Coverage:payor",
            ["Coverage/om-bo", "Organization/example-payer"],
        ),
        ("Coverage?patient=ed&status=cancelled", ["Coverage/cancelled-ed"]),
        (
            "Coverage?_id=om-bo,ma-ann&_format=json&_count=5",
            ["Coverage/ma-ann", "Coverage/om-bo"],
        ),
        ("Coverage?patient=nobody", []),
        ("ServiceRequest?patient=cy&encounter=visit-bo", []),
        (
            "ServiceRequest?patient=bo&encounter=visit-bo",
            ["ServiceRequest/mrs-during-visit", "ServiceRequest/mrs-to-dispatch-bo"],
        ),
        ("MedicationRequest?patient=bo&encounter=visit-bo", []),
        ("Encounter?patient=dee", ["Encounter/visit-dee"]),
        ("Organization?identifier=urn:oid:2.999.7.1|example-payer",
         ["Organization/example-payer"]),
        ("Patient?name=sample", ["Patient/bo"]),
    ],
)  # fmt: skip
def test_a_search_finds_what_its_parameters_say(
    query: str, found: list[str], stub: FlaskClient
) -> None:
    assert ids(stub, query) == found


def test_a_search_may_be_posted(stub: FlaskClient) -> None:
    reply = stub.post(
        "/fhir/Coverage/_search", headers=TOKEN, data={"patient": "bo", "status": "active"}
    )
    assert [e["resource"]["id"] for e in reply.get_json()["entry"]] == ["om-bo"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/fhir/Patient/nobody", 404),
        ("/fhir/Spaceship?patient=bo", 404),
        ("/fhir/Patient?shoe-size=9", 400),
        ("/fhir", 404),
        ("/", 404),
    ],
)
def test_what_is_not_there_is_an_operation_outcome(
    path: str, status: int, stub: FlaskClient
) -> None:
    reply = stub.get(path, headers=TOKEN)
    assert reply.status_code == status
    assert reply.get_json()["resourceType"] == "OperationOutcome"


def test_a_browser_is_let_in_from_anywhere(stub: FlaskClient) -> None:
    asked = {
        "Origin": "https://sandbox.cds-hooks.org",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
        "Access-Control-Request-Private-Network": "true",
    }
    preflight = stub.options("/fhir/Patient/ann", headers=asked)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] == "*"
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    assert stub.get("/fhir/Patient/x").headers["Access-Control-Allow-Origin"] == "*"


ORDER = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/bo"},
}


class TestWhatClientsStore:
    """In memory, for as long as the stub runs; each test has a stub of its own."""

    @pytest.fixture
    def stub(self) -> FlaskClient:
        return create_stub(ResourceStore(FIXTURES / "resources"), BASE).test_client()

    @pytest.mark.parametrize(
        "resource",
        [
            ORDER,
            {
                "resourceType": "Task",
                "status": "ready",
                "intent": "order",
                "for": {"reference": "Patient/bo"},
            },
            {"resourceType": "Questionnaire", "status": "active", "url": "http://example.org/form"},
            {
                "resourceType": "QuestionnaireResponse",
                "status": "completed",
                "subject": {"reference": "Patient/bo"},
                "questionnaire": "http://example.org/form|1",
            },
        ],
        ids=lambda r: r["resourceType"],
    )
    def test_what_is_created_is_read_and_found_again(
        self, stub: FlaskClient, resource: dict[str, Any]
    ) -> None:
        kind = resource["resourceType"]
        reply = stub.post(f"/fhir/{kind}", json=resource, headers=TOKEN)
        assert reply.status_code == 201
        created = reply.get_json()
        assert reply.headers["Location"] == f"{BASE}/{kind}/{created['id']}"
        assert {**created, "id": None, "meta": None} == {**resource, "id": None, "meta": None}
        assert stub.get(f"/fhir/{kind}/{created['id']}", headers=TOKEN).get_json() == created
        if kind != "Questionnaire":
            assert f"{kind}/{created['id']}" in ids(stub, f"{kind}?patient=bo")

    def test_an_update_takes_the_place_of_what_was_there(self, stub: FlaskClient) -> None:
        old = stub.get("/fhir/ServiceRequest/mrs-to-book", headers=TOKEN).get_json()
        changed = {**old, "status": "revoked"}
        reply = stub.put("/fhir/ServiceRequest/mrs-to-book", json=changed, headers=TOKEN)
        assert reply.status_code == 200
        again = stub.get("/fhir/ServiceRequest/mrs-to-book", headers=TOKEN).get_json()
        assert again["status"] == "revoked"
        assert again["meta"]["versionId"] == "1"
        assert again["meta"]["profile"] == old["meta"]["profile"]

    def test_an_update_makes_what_was_not_there(self, stub: FlaskClient) -> None:
        reply = stub.put("/fhir/ServiceRequest/new", json={**ORDER, "id": "new"}, headers=TOKEN)
        assert reply.status_code == 201
        assert "ServiceRequest/new" in ids(stub, "ServiceRequest?patient=bo")

    def test_a_form_is_created_once_where_the_client_says_so(self, stub: FlaskClient) -> None:
        form = {"resourceType": "Questionnaire", "status": "active"}
        form |= {"url": "http://example.org/form", "version": "1"}
        header = TOKEN | {"If-None-Exist": "url=http://example.org/form&version=1"}
        first = stub.post("/fhir/Questionnaire", json=form, headers=header)
        second = stub.post("/fhir/Questionnaire", json=form, headers=header)
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.get_json() == first.get_json()

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("post", "ServiceRequest", b"no JSON"),
            ("post", "ServiceRequest", b"[]"),
            ("post", "ServiceRequest", b'{"resourceType": "Patient"}'),
            ("post", "Nothing", b'{"resourceType": "Nothing"}'),
            ("put", "ServiceRequest/a", b'{"resourceType": "ServiceRequest", "id": "b"}'),
            ("put", "ServiceRequest/a_b", b'{"resourceType": "ServiceRequest", "id": "a_b"}'),
        ],
    )
    def test_what_is_no_resource_of_that_address_is_refused(
        self, stub: FlaskClient, method: str, path: str, body: bytes
    ) -> None:
        reply = getattr(stub, method)(f"/fhir/{path}", data=body, headers=TOKEN)
        assert reply.status_code == 400
        assert reply.get_json()["resourceType"] == "OperationOutcome"

    def test_nothing_is_stored_without_the_token(self, stub: FlaskClient) -> None:
        assert stub.post("/fhir/ServiceRequest", json=ORDER).status_code == 401
        assert stub.put("/fhir/ServiceRequest/a", json={**ORDER, "id": "a"}).status_code == 401


def test_parameters_on_the_result_change_nothing_that_is_found(stub: FlaskClient) -> None:
    wanted = ids(stub, "Coverage?patient=bo")
    result = "_summary=data&_elements=id&_total=accurate&_count=1&_sort=-_lastUpdated"
    assert ids(stub, f"Coverage?patient=bo&{result}&_revinclude=Claim:coverage") == wanted


ABOUT_SEVERAL = {"flo", "max", "oda"}


def test_nobody_has_two_coverages_today_but_who_is_about_that(store: ResourceStore) -> None:
    for patient in store.search("Patient", [])[0]:
        active, _ = store.search("Coverage", [("patient", patient["id"]), ("status", "active")])
        today = [c for c in active if c["period"].get("end", "9999") >= "2026-11-22"]
        assert len(today) <= 1 or patient["id"] in ABOUT_SEVERAL, patient["id"]


PREFETCH_IS_WHAT_IT_SHOWS = {
    "cancelled-coverage",
    "coverage-of-another-patient",
    "deceased-patient",  # known as far as the call tells: it is not asked for
    "expired-coverage",
    "no-coverage",
}
SIGNED = sorted(
    path
    for path in (FIXTURES / "order-sign").glob("*.json")
    if path.stem not in PREFETCH_IS_WHAT_IT_SHOWS
)


@pytest.mark.parametrize("path", SIGNED, ids=lambda p: p.stem)
def test_a_signing_that_brings_nothing_is_answered_like_the_one_that_brings_it(
    path: Path, ehr: Ehr, ask: Ask
) -> None:
    request = json.loads(fixture_text_today(path))
    name = f"order-sign/{path.stem}"
    given = ask(request | {"fhirServer": ehr.base, "fhirAuthorization": None}, frozenset())
    fetched = ask(bare(name, ehr.base))
    assert fetched.summaries == given.summaries
    assert {k: v["covered"] for k, v in fetched.statements.items()} == {
        k: v["covered"] for k, v in given.statements.items()
    }


def test_the_capability_statement_is_valid_and_says_what_the_stub_is(stub: FlaskClient) -> None:
    statement = stub.get("/fhir/metadata").get_json()
    CapabilityStatement.model_validate(statement)
    assert "tool for testers" in statement["implementation"]["description"]
    assert statement["fhirVersion"] == "4.0.1"


def test_a_folder_without_resources_is_an_operators_mistake(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["ehr", "--port", "0", "--resources", str(tmp_path)])
    assert isinstance(result.exception, ConfigurationError)
    assert "--resources" in str(result.exception)


@pytest.fixture
def running() -> Iterator[str]:
    """`covercard ehr` on a free port; its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", "from service.cli import main; main()", "ehr", "--port", "0"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    words = process.stdout.readline().split()
    yield next(w for w in words if w.startswith("http://127.0.0.1:"))
    process.terminate()
    process.wait(timeout=60)


def test_the_command_serves_the_fixtures_to_a_call_that_brings_nothing(
    running: str, ask: Ask
) -> None:
    assert requests.get(f"{running}/metadata", timeout=30).status_code == 200
    asked = ask(bare("order-sign/mrs-medicare-advantage", running))
    assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "not-covered"


def test_the_fixtures_carry_the_token_that_the_stub_asks_for() -> None:
    request = fixture_text_today(FIXTURES / "order-sign/mrs-medicare-advantage.json")
    assert f'"access_token": "{DEMO_TOKEN}"' in request
    assert f'"fhirServer": "{BASE}"' in request
