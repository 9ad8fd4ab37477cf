"""The forms' CQL, run by an engine on the chart, gives what the service's own pre-filling gives."""

from __future__ import annotations

import copy
import json
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.dtr.form_shape import CQF_LIBRARY
from tests.conftest import FIXTURES, NOW
from tests.contract.test_questionnaire_package import begun, checked, parameters
from tests.cql import is_set_up, node
from tests.filling import answers_of, questions
from tests.unit.test_form_libraries import FORMS, closure, elm_of

Json = dict[str, Any]
INITIAL = "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-initialExpression"
CANONICAL = "https://covercard.example/fhir/Questionnaire/"
RESOURCES = FIXTURES / "resources"
SHIPPED = [path for path in FORMS if path.parent.parent.name == "cards"]

pytestmark = pytest.mark.e2e


@pytest.fixture(autouse=True)
def _needs_the_engine() -> None:
    if not is_set_up():
        reason = "SKIPPED: the forms' CQL is not run; make forms fetches the engine (Node)"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)


def initial(form: Json) -> dict[str, str]:
    """linkId → the definition of its initial value."""
    return {
        item["linkId"]: extension["valueExpression"]["expression"].rpartition(".")[2]
        for item in questions(form["item"])
        for extension in item.get("extension", ())
        if extension["url"] == INITIAL
    }


def run_of(form: Json, chart: list[Json]) -> Json:
    """A run of the form's library, fed with what it lists as its data requirements alone."""
    (canonical,) = (e["valueCanonical"] for e in form["extension"] if e["url"] == CQF_LIBRARY)
    libraries = list(closure(canonical))
    needed = {each["type"] for each in libraries[0]["dataRequirement"]}
    return {
        "libraries": [{"library": elm_of(each)} for each in libraries],
        "library": libraries[0]["name"],
        "version": libraries[0]["version"],
        "definitions": sorted(set(initial(form).values())),
        "chart": [each for each in chart if each["resourceType"] in needed],
        "now": NOW.isoformat(),
    }


def by_engine(runs: list[tuple[Json, list[Json]]]) -> list[dict[str, list[Any]]]:
    """The answers by linkId that an engine finds for forms and charts; no answer, no linkId."""
    found: list[Mapping[str, Any]] = node("run.mjs", [run_of(*each) for each in runs])
    return [
        {
            link_id: values[name] if isinstance(values[name], list) else [values[name]]
            for link_id, name in initial(form).items()
            if values[name] not in (None, [])
        }
        for (form, _), values in zip(runs, found, strict=True)
    ]


def by_service(client: FlaskClient, form: Json, patient: Json) -> dict[str, list[Any]]:
    """The answers by linkId that the service pre-fills to the items with an initial value."""
    coverage = json.loads((RESOURCES / "Coverage-ma-ann.json").read_text("utf-8"))
    coverage["beneficiary"] = {"reference": f"Patient/{patient['id']}"}
    canonical = ("questionnaire", {"valueCanonical": CANONICAL + form["id"]})
    given = parameters(("coverage", coverage), ("referenced", patient), canonical)
    (response,) = begun(checked(client, given))
    answers: dict[str, list[Any]] = {}
    for link_id, answer in answers_of(response["item"]):
        if link_id in initial(form):
            value = next(v for k, v in answer.items() if k.startswith("value"))
            answers.setdefault(link_id, []).append(value)
    return answers


def patients() -> Iterator[Json]:
    for path in sorted(RESOURCES.glob("Patient-*.json")):
        yield json.loads(path.read_text("utf-8"))


def unusual_patients() -> Iterator[Json]:
    """Patients whose names and birth dates are written in all ways that a chart may."""
    base = next(patients())
    names: list[Any] = [
        [],
        [{"use": "usual", "text": "Usual Sampleson"}, {"use": "official", "text": "Off Sampleson"}],
        [{"use": "old", "family": "Before"}, {"use": "maiden", "family": "Born"}],
        [{"use": "nickname", "text": "Nick"}, {"given": ["No"], "family": "Use"}],
        [{"use": "official", "text": "  "}, {"use": "usual", "given": ["Later"]}],
        [{"use": "official", "text": " Blanks  Around\t"}],
        [{"use": "official", "given": ["One", " Two "], "family": "Three"}],
        [{"use": "official", "given": ["Only"]}],
        [{"use": "official", "family": "Family"}, {"use": "official", "text": "Second Official"}],
        [{"use": "temp", "family": "Temporary"}],
    ]
    for i, written in enumerate(names):
        patient = {**copy.deepcopy(base), "id": f"name-{i}", "name": written}
        yield {k: v for k, v in patient.items() if v != []}
    for born in (None, "1950", "1950-02", "1950-02-28"):
        patient = {**copy.deepcopy(base), "id": f"born-{born}", "birthDate": born}
        yield {k: v for k, v in patient.items() if v is not None}


def chart_of(patient: Json) -> list[Json]:
    """The patient with what else the EHR holds."""
    chart = [patient]
    for path in sorted(RESOURCES.glob("*.json")):
        if not path.name.startswith("Patient-"):
            chart.append(json.loads(path.read_text("utf-8")))
    return chart


@pytest.mark.form_rule("sdc-expressions")
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_engine_and_the_service_find_the_same_answers(path: Path, client: FlaskClient) -> None:
    form = json.loads(path.read_text("utf-8"))
    asked = [*patients(), *unusual_patients()]
    found = by_engine([(form, chart_of(patient)) for patient in asked])
    for patient, answers in zip(asked, found, strict=True):
        expected = by_service(client, form, patient)
        for link_id in initial(form):
            told = answers.get(link_id), expected.get(link_id)
            assert told[0] == told[1], f"{link_id} of {patient['id']}: CQL {told[0]}, we {told[1]}"
    assert any(answers for answers in found)
    assert any(answers.keys() < initial(form).keys() for answers in found)


def test_an_engine_refuses_a_library_whose_definition_fails() -> None:
    """What the comparison rests on: a broken library is an error, no empty answer."""
    form = json.loads(SHIPPED[0].read_text("utf-8"))
    run = run_of(form, chart_of(next(patients())))
    run["version"] = "0.0.1"
    with pytest.raises(subprocess.CalledProcessError):
        node("run.mjs", [run])
