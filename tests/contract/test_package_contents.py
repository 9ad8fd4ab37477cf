"""A package brings everything that its form names, each once and in its version."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.library import Library
from fhir.resources.R4B.valueset import ValueSet
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.decision_log.recall import RecalledCall
from service.dtr.form_shape import CQF_LIBRARY
from tests.conftest import NOW, in_folder
from tests.contract.test_example_policies import EXAMPLES, HCPCS, order_of
from tests.contract.test_questionnaire_package import asked, issues
from tests.contract.test_two_dtr_versions import every

Json = dict[str, Any]
FORM = "https://covercard.example/fhir/Questionnaire/oxygen-need"
LIBRARY = "https://covercard.example/fhir/Library/"
VALUE_SET = "https://covercard.example/fhir/ValueSet/"
VERSIONS = ("2.0", "2.2")


def library(name: str, date: str = "2026-02-01", **more: Any) -> Json:
    data = base64.b64encode(b"library x").decode()
    kinds = ("text/cql", "application/elm+json")
    return {
        "resourceType": "Library",
        "id": name,
        "url": LIBRARY + name,
        "version": "1.2.0",
        "name": name,
        "status": "active",
        "date": date,
        "type": {"coding": [{"code": "logic-library"}]},
        "content": [{"contentType": kind, "data": data} for kind in kinds],
        **more,
    }


def depends_on(canonical: str) -> Json:
    return {"type": "depends-on", "resource": canonical}


Serve = Callable[..., FlaskClient]


def bare_form(file: Path) -> Json:
    """A form as of the year's begin, without what depends on anything else."""
    form: Json = json.loads(file.read_text("utf-8"))
    form["date"] = "2026-01-01T00:00:00+00:00"
    form.pop("extension")
    form["item"] = list(_bare_items(form["item"]))
    return form


def _bare_items(items: list[Json]) -> Iterator[Json]:
    for item in items:
        if "answerValueSet" not in item and item["type"] != "reference":
            bare = {name: value for name, value in item.items() if name != "extension"}
            yield {**bare, "item": list(_bare_items(item["item"]))} if "item" in item else bare


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """The example policies, the oxygen form with these extensions and value sets."""
    apps = []

    def start(libraries: list[Json], *value_sets: str, **form_more: Any) -> FlaskClient:
        policies = tmp_path / f"policies-{len(apps)}"
        shutil.copytree(EXAMPLES, policies)
        forms = policies / "home-oxygen" / "questionnaires"
        (forms / "libraries").mkdir(exist_ok=True)
        for each in libraries:
            (forms / "libraries" / f"{each['id']}.json").write_text(json.dumps(each), "utf-8")
        form = bare_form(forms / "oxygen-need.json")
        extensions = form.setdefault("extension", [])
        extensions.extend({"url": CQF_LIBRARY, "valueCanonical": x["url"]} for x in libraries[:1])
        form["item"].extend(
            {"linkId": f"set-{n}", "text": "Which?", "type": "choice", "answerValueSet": url}
            for n, url in enumerate(value_sets)
        )
        form.update(form_more)
        (forms / "oxygen-need.json").write_text(json.dumps(form), "utf-8")
        for name, count in (("small", 3), ("large", 60)):
            folder = policies / "_value_sets" / name
            folder.mkdir(parents=True, exist_ok=True)
            lines = [f'hcpcs,X{n:04},2026-01-01,,"Item {n}"' for n in range(count)]
            text = "\n".join(["system,code,first,last,name", *lines, ""])
            (folder / "2026-01-01.csv").write_text(text, "utf-8")
        app = create_app(in_folder(tmp_path, policies_dir=policies), clock=lambda: NOW)
        apps.append(app)
        return app.test_client()

    yield start
    for app in apps:
        app.extensions[RECORDER].stop()


def package(client: FlaskClient, version: str, *more: tuple[str, Json]) -> Json:
    request = order_of(HCPCS, "E1390", "J44.9")
    payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
    body = asked(request, ("referenced", payer), *more)
    url = f"/fhir/{version}/Questionnaire/$questionnaire-package"
    reply = client.post(url, json=body)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    output: Json = reply.get_json()
    return output


def resources(output: Json) -> list[Json]:
    return [e["resource"] for e in bundle_of(output)["entry"]]


def bundle_of(output: Json) -> Json:
    """The only package: in 2.0.1 bare, where there is no issue."""
    found: Json = output if output["resourceType"] == "Bundle" else first_package(output)
    return found


def first_package(output: Json) -> Json:
    package: Json = output["parameter"][0]["resource"]
    return package


@pytest.mark.form_rule("dtr-dependencies")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_package_has_each_library_and_value_set_that_its_form_names_once(
    serve: Serve, version: str
) -> None:
    shared, helpers = library("Shared"), library("Helpers")
    helpers["relatedArtifact"] = [depends_on(LIBRARY + "Shared")]
    first = library(
        "First", relatedArtifact=[depends_on(LIBRARY + "Helpers"), depends_on(LIBRARY + "Shared")]
    )
    client = serve([first, helpers, shared], VALUE_SET + "small", VALUE_SET + "small")
    found = resources(package(client, version))
    kinds = [r["resourceType"] for r in found]
    assert kinds == ["Questionnaire", "QuestionnaireResponse", *["Library"] * 3, "ValueSet"]
    assert {r["id"] for r in found if r["resourceType"] == "Library"} == {
        *("First", "Helpers", "Shared")
    }
    for resource in found:
        if resource["resourceType"] == "Library":
            Library.model_validate(resource)


@pytest.mark.form_rule("dtr-references")
@pytest.mark.parametrize("version", VERSIONS)
def test_every_reference_to_an_artifact_has_its_version(serve: Serve, version: str) -> None:
    helpers = library("Helpers")
    first = library("First", relatedArtifact=[depends_on(LIBRARY + "Helpers")])
    client = serve([first, helpers], VALUE_SET + "large")
    form, _, *others = resources(package(client, version))
    sets = {v["url"]: v["version"] for v in others if v["resourceType"] == "ValueSet"}
    assert [*every(form, "answerValueSet")] == [f"{url}|{v}" for url, v in sets.items()]
    named = [*every(form, "valueCanonical")]
    # Published clients of 2.0 look a library up by its URL alone.
    assert (LIBRARY + "First|1.2.0" in named) == (version == "2.2")
    if version == "2.2":
        (depends,) = (e for r in others for e in every(r, "relatedArtifact"))
        assert depends[0]["resource"] == LIBRARY + "Helpers|1.2.0"


@pytest.mark.form_rule("dtr-small-value-sets")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_value_set_of_fewer_than_forty_codes_comes_expanded_as_of_today(
    serve: Serve, version: str
) -> None:
    client = serve([], VALUE_SET + "small", VALUE_SET + "large")
    sets = {
        r["id"]: r for r in resources(package(client, version)) if r["resourceType"] == "ValueSet"
    }
    for each in sets.values():
        ValueSet.model_validate(each)
    expansion = sets["small"]["expansion"]
    assert datetime.fromisoformat(expansion["timestamp"]).date() == NOW.date()
    assert [c["code"] for c in expansion["contains"]] == ["X0000", "X0001", "X0002"]
    assert "expansion" not in sets["large"]
    url = f"/fhir/{version}/ValueSet/$expand"
    canonical = f"{sets['large']['url']}|{sets['large']['version']}"
    expanded = client.get(url, query_string={"url": canonical}).get_json()
    assert expanded["expansion"]["total"] == 60


@pytest.mark.form_rule("dtr-dependencies")
def test_what_a_form_names_and_is_not_on_file_is_a_warning(serve: Serve) -> None:
    client = serve([library("First", relatedArtifact=[depends_on(LIBRARY + "Lost|1.0.0")])])
    (issue,) = issues(package(client, "2.2"))
    assert (issue["severity"], issue["code"]) == ("warning", "not-found")
    assert LIBRARY + "Lost|1.0.0" in issue["diagnostics"]


@pytest.mark.form_rule("dtr-changed-since")
@pytest.mark.parametrize(("since", "comes"), [("2026-03-15", True), ("2026-04-15", False)])
def test_a_changed_library_changes_its_form(serve: Serve, since: str, comes: bool) -> None:
    client = serve([library("First", date="2026-04-01")])
    told = ("changedsince", {"valueInstant": f"{since}T00:00:00Z"})
    names = [p["name"] for p in package(client, "2.2", told)["parameter"]]
    assert ("packagebundle" in names) == comes


@pytest.mark.parametrize("version", VERSIONS)
def test_an_adaptive_form_brings_what_its_questions_depend_on(serve: Serve, version: str) -> None:
    client = serve([library("First")], VALUE_SET + "small")
    adaptive = ("questionnaire", {"valueCanonical": FORM + "-adaptive"})
    kinds = [r["resourceType"] for r in resources(package(client, version, adaptive))]
    assert kinds == ["Questionnaire", "QuestionnaireResponse", "Library", "ValueSet"]


def test_a_library_is_read_at_its_own_address(serve: Serve) -> None:
    client = serve([library("First")])
    found = client.get("/fhir/2.2/Library/First").get_json()
    assert found["url"] == LIBRARY + "First"
    assert client.get("/fhir/Library/none").status_code == 404


class Log:
    """A decision log that holds one call."""

    def __init__(self, request: Json) -> None:
        order = request["context"]["draftOrders"]["entry"][0]["resource"]
        body = json.dumps(request).encode()
        reference = f"{order['resourceType']}/{order['id']}"
        self.call = RecalledCall(f"{request['hook']}-crd", reference, body)

    def by_assertion_id(self, assertion_id: str, client: str) -> RecalledCall | None:
        return self.call if assertion_id == "known" else None


@pytest.mark.form_rule("dtr-inputs")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "given",
    [
        *({"order"}, {"questionnaire"}, {"context"}, {"order", "questionnaire"}),
        *({"order", "context"}, {"questionnaire", "context"}),
        {"order", "questionnaire", "context"},
    ],
    ids=lambda g: "+".join(sorted(g)),
)
def test_by_order_by_canonical_and_by_context_alone_and_together_the_form_comes_once(
    tmp_path: Path, version: str, given: set[str]
) -> None:
    from tests.contract.calls import coverage_of, orders_of
    from tests.contract.test_questionnaire_package import parameters

    request = order_of(HCPCS, "E1390", "J44.9")
    told = {
        "order": ("order", orders_of(request)[0]),
        "questionnaire": ("questionnaire", {"valueCanonical": FORM}),
        "context": ("context", {"valueString": "known"}),
    }
    payer = ("referenced", request["prefetch"]["coverage"]["entry"][1]["resource"])
    body = parameters(
        ("coverage", coverage_of(request)), payer, *(told[name] for name in sorted(given))
    )
    client = served_examples(tmp_path, Log(request))
    url = f"/fhir/{version}/Questionnaire/$questionnaire-package"
    reply = client.post(url, json=body)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    output = reply.get_json()
    names = [p["name"].lower() for p in output.get("parameter", ())]
    assert names.count("packagebundle") == (0 if output["resourceType"] == "Bundle" else 1)
    entries = resources(output)
    assert [e["resourceType"] for e in entries].count("QuestionnaireResponse") == 1
    assert (entries[0]["resourceType"], entries[0]["url"]) == ("Questionnaire", FORM)


def served_examples(folder: Path, log: Log) -> FlaskClient:
    """The example policies with a decision log behind them."""
    from flask import Flask

    from service.bootstrap.app import Library as AllOnFile
    from service.bootstrap.app import wire_fhir, wire_packages
    from service.web.problems import translate_errors

    settings = in_folder(folder, policies_dir=EXAMPLES)
    on_file = AllOnFile(settings)
    packages = wire_packages(settings, on_file, log, clock=lambda: NOW)
    app = Flask("package")
    translate_errors(app)
    wire_fhir(app, settings, on_file, packages, lambda: "clinic", lambda _, __: None, lambda: NOW)
    return app.test_client()
