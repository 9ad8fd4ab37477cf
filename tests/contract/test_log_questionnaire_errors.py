"""$log-questionnaire-errors: kept for policy staff by form and version, and counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fhir.resources.R4B.operationoutcome import OperationOutcome
from flask import Flask

from service.bootstrap.app import RECORDER, create_app
from service.cli.decisions import decisions
from service.settings import Settings
from tests.conftest import NOW, ROOT, in_folder

Json = dict[str, Any]
FORM = "https://covercard.example/fhir/Questionnaire/abn-record"
OPERATION = "/fhir/2.2/Questionnaire/$log-questionnaire-errors"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return in_folder(tmp_path, added_policies_dir=ROOT / "examples" / "policies")


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings, clock=lambda: NOW)
    yield app
    app.extensions[RECORDER].stop()


def report(*texts: str, form: str = f"{FORM}|1.0.0", code: str = "processing") -> Json:
    issues = [{"severity": "error", "code": code, "diagnostics": text} for text in texts]
    outcome = {"resourceType": "OperationOutcome", "issue": issues}
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "questionnaire", "valueCanonical": form},
            {"name": "operationOutcome", "resource": outcome},
        ],
    }


def listed(app: Flask, settings: Settings, *options: str) -> str:
    app.extensions[RECORDER].stop()
    folder = {
        "COVERCARD_DATABASE_URL": settings.database_url,
        "COVERCARD_RECORDS_DIR": str(settings.records_dir),
    }
    result = CliRunner().invoke(decisions, ["form-errors", *options], env=folder)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.form_rule("dtr-log-errors")
@pytest.mark.parametrize("prefix", ["/fhir", "/fhir/2.0", "/fhir/2.2"])
def test_a_reported_error_is_kept_and_shown_by_form_and_version(
    app: Flask, settings: Settings, prefix: str
) -> None:
    client = app.test_client()
    url = f"{prefix}/Questionnaire/$log-questionnaire-errors"
    reply = client.post(url, json=report("No library LibX.", "No value set."))
    assert reply.status_code == 200
    OperationOutcome.model_validate(reply.get_json())
    client.post(url, json=report("No library LibX.", form=FORM, code="not-found"))
    found = json.loads(listed(app, settings, "--json"))
    by_version = {each["version"]: each for each in found}
    assert by_version["1.0.0"]["form"] == FORM
    assert by_version["1.0.0"]["codes"] == {"processing": 2}
    assert set(by_version["1.0.0"]["texts"]) == {"No library LibX.", "No value set."}
    assert by_version[None]["codes"] == {"not-found": 1}


def test_the_list_is_readable_and_names_no_control_characters(
    app: Flask, settings: Settings
) -> None:
    app.test_client().post(OPERATION, json=report("bad \u202e\x1b[31m text"))
    shown = listed(app, settings)
    assert f"{FORM} 1.0.0" in shown
    assert "processing 1" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_the_same_report_of_a_day_is_kept_once_and_counted_each_time(
    app: Flask, settings: Settings
) -> None:
    client = app.test_client()
    for _ in range(3):
        assert client.post(OPERATION, json=report("again")).status_code == 200
    metrics = client.get("/metrics").get_data(as_text=True)
    assert 'covercard_form_errors_total{form="abn-record"} 3.0' in metrics
    (found,) = json.loads(listed(app, settings, "--json"))
    assert found["errors"] == 1


@pytest.mark.threat("form-errors")
def test_a_report_is_bounded(app: Flask, settings: Settings) -> None:
    client = app.test_client()
    assert client.post(OPERATION, json=report(*["x"] * 51)).status_code == 400
    many = report("x")
    many["parameter"] += [
        {"name": "questionnaire", "valueCanonical": f"{FORM}|{n}"} for n in range(10)
    ]
    assert client.post(OPERATION, json=many).status_code == 400
    assert client.post(OPERATION, json=report("y" * 100_000)).status_code == 200
    (found,) = json.loads(listed(app, settings, "--json"))
    assert found["texts"] == ["y" * 1000]


@pytest.mark.threat("form-errors")
def test_what_a_report_says_is_in_no_log_line_and_no_metric(
    app: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    client = app.test_client()
    client.post(OPERATION, json=report("Ann Testcase, born 1951"))
    assert "Testcase" not in client.get("/metrics").get_data(as_text=True)
    written = capsys.readouterr()
    assert "Testcase" not in written.out + written.err


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"resourceType": "Patient"}, 400),
        ({"resourceType": "Parameters", "parameter": []}, 400),
        ({**report("x"), "parameter": report("x")["parameter"][:1]}, 400),
        ({**report("x"), "parameter": report("x")["parameter"][1:]}, 400),
        (report("x", form="https://elsewhere.example.org/Questionnaire/x"), 404),
    ],
)
def test_what_is_no_report_is_refused(app: Flask, body: Json, status: int) -> None:
    reply = app.test_client().post(OPERATION, json=body)
    assert reply.status_code == status
    OperationOutcome.model_validate(reply.get_json())


def test_an_adaptive_form_is_reported_by_its_own_canonical(app: Flask, settings: Settings) -> None:
    form = "https://covercard.example/fhir/Questionnaire/conservative-care-adaptive|1.0.0"
    assert app.test_client().post(OPERATION, json=report("x", form=form)).status_code == 200
    (found,) = json.loads(listed(app, settings, "--json"))
    assert found["form"].endswith("-adaptive")
