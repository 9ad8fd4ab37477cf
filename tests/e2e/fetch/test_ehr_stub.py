"""The EHR stub for testers: `covercard ehr`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
from tests.conftest import FIXTURES, ROOT
from tests.e2e.fetch.conftest import Ask, bare

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
    process.wait(timeout=15)


def test_the_command_serves_the_fixtures_to_a_call_that_brings_nothing(
    running: str, ask: Ask
) -> None:
    assert requests.get(f"{running}/metadata", timeout=10).status_code == 200
    asked = ask(bare("order-sign/mrs-medicare-advantage", running))
    assert asked.statements["ServiceRequest/mrs-brain"]["covered"] == "not-covered"


def test_the_fixtures_carry_the_token_that_the_stub_asks_for() -> None:
    request = (FIXTURES / "order-sign/mrs-medicare-advantage.json").read_text("utf-8")
    assert f'"access_token": "{DEMO_TOKEN}"' in request
    assert f'"fhirServer": "{BASE}"' in request
