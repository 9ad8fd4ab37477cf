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

from service.bootstrap.app import RECORDER, create_app
from service.dtr.form_shape import CQF_LIBRARY
from tests.conftest import FIXTURES, NOW, in_folder
from tests.contract.test_example_policies import EXAMPLES, HCPCS, order_of
from tests.contract.test_questionnaire_package import asked, begun, checked, parameters
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


def asks_for(requirement: Json, resource: Json) -> bool:
    """Whether a client that loads what a data requirement names gets this resource."""
    if resource["resourceType"] != requirement["type"]:
        return False
    codings = [(c["system"], c["code"]) for c in resource.get("code", {}).get("coding", ())]
    return all(
        any((c["system"], c["code"]) in codings for c in code_filter["code"])
        for code_filter in requirement.get("codeFilter", ())
    )


def run_of(form: Json, chart: list[Json]) -> Json:
    """A run of the form's library, fed with what it lists as its data requirements alone."""
    (canonical,) = (e["valueCanonical"] for e in form["extension"] if e["url"] == CQF_LIBRARY)
    libraries = list(closure(canonical))
    return {
        "libraries": [{"library": elm_of(each)} for each in libraries],
        "library": libraries[0]["name"],
        "version": libraries[0]["version"],
        "definitions": sorted(set(initial(form).values())),
        "chart": [r for r in chart if any(asks_for(d, r) for d in libraries[0]["dataRequirement"])],
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
    return answered(response, form)


def answered(response: Json, form: Json) -> dict[str, list[Any]]:
    """The answers of a response to the items with an initial value, by linkId."""
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
    people = [*patients(), *unusual_patients()]
    found = by_engine([(form, chart_of(patient)) for patient in people])
    for patient, answers in zip(people, found, strict=True):
        expected = by_service(client, form, patient)
        for link_id in initial(form):
            told = answers.get(link_id), expected.get(link_id)
            assert told[0] == told[1], f"{link_id} of {patient['id']}: CQL {told[0]}, we {told[1]}"
    assert any(answers for answers in found)
    assert any(answers.keys() < initial(form).keys() for answers in found)


def observed(n: int, day: str | None, status: str = "final", **value: Any) -> Json:
    quantity = {"value": 86, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"}
    made = {
        "resourceType": "Observation",
        "id": f"saturation-{n}",
        "status": status,
        "code": {"coding": [{"system": "http://loinc.org", "code": "59408-5"}]},
        "subject": {"reference": "Patient/ann"},
        "effectiveDateTime": day,
        "valueQuantity": {k: v for k, v in (quantity | value).items() if v is not None},
    }
    return {k: v for k, v in made.items() if v is not None}


BLOOD = {"coding": [{"system": "http://loinc.org", "code": "2708-6"}]}
OTHER = {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}
OBSERVATIONS: dict[str, list[Json]] = {
    "none": [],
    "one": [observed(1, "2026-11-20")],
    "of today": [observed(1, "2026-11-22")],
    "the newest of two": [
        observed(1, "2026-11-10", value=90),
        observed(2, "2026-11-20", value=87.5),
    ],
    "in any sequence": [observed(1, "2026-11-20", value=87), observed(2, "2026-11-10", value=90)],
    "of thirty days ago": [observed(1, "2026-10-23")],
    "older": [observed(1, "2026-10-22")],
    "of tomorrow": [observed(1, "2026-11-23")],
    "preliminary": [observed(1, "2026-11-20", status="preliminary")],
    "corrected": [observed(1, "2026-11-20", status="corrected")],
    "two that differ": [observed(1, "2026-11-20"), observed(2, "2026-11-20", value=91)],
    "two that agree": [observed(1, "2026-11-20"), observed(2, "2026-11-20")],
    "another unit": [observed(1, "2026-11-20", unit="mm[Hg]", code="mm[Hg]")],
    "without a unit": [observed(1, "2026-11-20", unit=None, code=None, system=None)],
    "less than": [observed(1, "2026-11-20", comparator="<")],
    "the newest unreadable": [observed(1, "2026-11-10"), observed(2, "2026-11-20", comparator="<")],
    "no day": [observed(1, None)],
    "of arterial blood": [{**observed(1, "2026-11-20"), "code": BLOOD}],
    "the pulse": [{**observed(1, "2026-11-20"), "code": OTHER}],
    "of times": [
        observed(1, "2026-11-20T08:00:00Z", value=92),
        observed(2, "2026-11-20T09:00:00Z", value=85),
    ],
}

ONLY_IN_CQL = frozenset({"measured-on", "treatment-tried"})
"""Items of the oxygen form that the chart tells and the service leaves to the client: the day of
the value, and what decides, which the service takes from a person's answer alone."""


@pytest.fixture
def example_client(tmp_path: Path) -> Iterator[FlaskClient]:
    app = create_app(in_folder(tmp_path, policies_dir=EXAMPLES), clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def test_the_engine_and_the_service_find_the_same_saturation(example_client: FlaskClient) -> None:
    folder = EXAMPLES / "home-oxygen" / "questionnaires"
    form = json.loads((folder / "oxygen-need.json").read_text("utf-8"))
    request = order_of(HCPCS, "E1390", "J44.9")
    (entry,) = request["context"]["draftOrders"]["entry"]
    entry["resource"]["occurrenceDateTime"] = NOW.date().isoformat()
    payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
    patient = json.loads((RESOURCES / "Patient-ann.json").read_text("utf-8"))
    found = by_engine([(form, [patient, *told]) for told in OBSERVATIONS.values()])
    for (name, told), answers in zip(OBSERVATIONS.items(), found, strict=True):
        more = [("referenced", resource) for resource in (payer, *told)]
        (response,) = begun(checked(example_client, asked(request, *more)))
        expected = answered(response, form)
        for link_id in initial(form).keys() - ONLY_IN_CQL:
            both = answers.get(link_id), expected.get(link_id)
            assert both[0] == both[1], f"{link_id}, {name}: CQL {both[0]}, we {both[1]}"
        assert "treatment-tried" not in answers
    by_name = dict(zip(OBSERVATIONS, found, strict=True))
    assert by_name["one"] == {"saturation": [86], "measured-on": ["2026-11-20"]}
    assert by_name["none"] == by_name["older"] == {}


@pytest.mark.parametrize(("status", "tried"), [("completed", [True]), ("not-done", None)])
def test_rehabilitation_in_the_chart_tells_that_treatment_was_tried(
    status: str, tried: list[bool] | None
) -> None:
    folder = EXAMPLES / "home-oxygen" / "questionnaires"
    form = json.loads((folder / "oxygen-need.json").read_text("utf-8"))
    done = {
        "resourceType": "Procedure",
        "id": "rehabilitation",
        "status": status,
        "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "94625"}]},
        "subject": {"reference": "Patient/ann"},
    }
    (found,) = by_engine([(form, [next(patients()), done])])
    assert found.get("treatment-tried") == tried


def test_an_engine_refuses_a_library_whose_definition_fails() -> None:
    """What the comparison rests on: a broken library is an error, no empty answer."""
    form = json.loads(SHIPPED[0].read_text("utf-8"))
    run = run_of(form, chart_of(next(patients())))
    run["version"] = "0.0.1"
    with pytest.raises(subprocess.CalledProcessError):
        node("run.mjs", [run])
