"""The presets for Inferno's DTR suites hold what the service answers, in both versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import ROOT, in_folder, settle
from tests.contract.calls import Json
from tests.contract.dtr_preset import BASE_URL, CONTEXT, FOLDER, NOW, SUITES, file_name, written

each_version = pytest.mark.parametrize("version", SUITES)


def inputs(version: str) -> dict[str, Any]:
    """A preset's inputs by name, JSON read where it stands in a text field."""
    loaded = json.loads((FOLDER / file_name(version)).read_text("utf-8"))
    return {
        i["name"]: json.loads(i["value"]) if i["type"] == "textarea" else i["value"]
        for i in loaded["inputs"]
    }


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    settings = in_folder(
        tmp_path_factory.mktemp("dtr-preset"),
        added_policies_dir=ROOT / "examples" / "policies",
        payers_file=ROOT / "examples" / "inferno" / "payers.yaml",
    )
    app = create_app(settings, clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@each_version
def test_the_file_is_what_the_fixtures_and_the_service_make(version: str, tmp_path: Path) -> None:
    told = "write it anew: python -m tests.contract.dtr_preset"
    assert (FOLDER / file_name(version)).read_text("utf-8") == written(version), told


@each_version
def test_the_address_is_that_of_the_version(version: str) -> None:
    assert inputs(version)["url"] == f"{BASE_URL}/fhir/{version}"


def test_each_kind_of_input_is_there_alone_and_together() -> None:
    kinds = [
        {p["name"] for p in call["parameter"]} - {"coverage"}
        for call in inputs("2.2")["questionnaire_package_request_parameters"]
    ]
    for kind in ("order", "questionnaire", "context"):
        assert {kind} in kinds
    assert {"order", "questionnaire", "context"} in kinds


def test_each_call_but_that_of_a_context_gets_a_package(client: FlaskClient) -> None:
    for call in inputs("2.2")["questionnaire_package_request_parameters"]:
        if CONTEXT in json.dumps(call) and len(call["parameter"]) == 2:
            continue
        reply = client.post("/fhir/2.2/Questionnaire/$questionnaire-package", json=call)
        assert reply.status_code == 200, reply.get_data(as_text=True)
        assert any(p["name"] == "packagebundle" for p in reply.get_json()["parameter"])


def test_the_questions_of_2_0_come_to_an_end(client: FlaskClient) -> None:
    ends = [
        client.post("/fhir/2.0/Questionnaire/$next-question", json=here(call)).get_json()["status"]
        for call in inputs("2.0")["next_question_requests"]
    ]
    assert ends[-1] == "completed"


def test_what_is_meant_to_be_refused_is(client: FlaskClient) -> None:
    settle(client)
    told = inputs("2.2")
    base = "/fhir/2.2/Questionnaire/"
    forged = client.post(f"{base}$next-question", json=here(told["invalid_questionnaire_response"]))
    assert forged.status_code == 400
    source = client.post(f"{base}$questionnaire-package", json=told["source_data_error_request"])
    assert source.status_code == 404


def here(body: Json) -> Json:
    """A body with the address of the service of this test."""
    moved: Json = json.loads(json.dumps(body).replace(BASE_URL, "http://127.0.0.1:8642"))
    return moved
