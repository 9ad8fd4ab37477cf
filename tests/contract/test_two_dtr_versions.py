"""Both versions of DTR side by side: each at an address of its own, in its own shape."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, ROOT, applications, in_folder
from tests.contract.calls import Json, call_of
from tests.contract.test_dtr_versions import INPUT, names, post, with_payer
from tests.contract.test_questionnaire_package import DTR

MA = "order-sign/mrs-medicare-advantage"
BED = "order-sign/hospital-bed"
CANONICAL = "https://covercard.example/fhir/Questionnaire/"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """The service with the example policies."""
    folder = tmp_path_factory.mktemp("two-versions")
    app = create_app(
        in_folder(
            folder,
            added_policies_dir=ROOT / "examples" / "policies",
            payers_file=ROOT / "examples" / "inferno" / "payers.yaml",
        ),
        clock=lambda: NOW,
    )
    yield app.test_client()
    app.extensions[RECORDER].stop()


def url(version: str) -> str:
    return f"/fhir/{version}/Questionnaire/$questionnaire-package"


def every(node: Any, name: str) -> Iterator[Any]:
    """Every value of a member of this name, however deep."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key == name:
            yield value
        if isinstance(value, dict | list):
            yield from every(value, name)


@pytest.mark.parametrize(
    ("version", "origin", "contexts"), [("2.0", "auto", 2), ("2.2", "auto-server", 1)]
)
@pytest.mark.parametrize("told", [None, f"{INPUT}|2.0.1", f"{INPUT}|2.2.0"])
def test_each_version_is_answered_in_its_own_shape_at_its_own_address(
    client: FlaskClient, version: str, origin: str, contexts: int, told: str | None
) -> None:
    body = with_payer(call_of(MA))
    if told is not None:
        body["meta"] = {"profile": [told]}
    output = post(client, body, url(version))
    bundle = output if version == "2.0" else output["parameter"][0]["resource"]
    response = bundle["entry"][1]["resource"]
    extensions = [e["url"] for e in response["extension"]]
    assert extensions.count(DTR + "qr-context") == contexts
    assert (DTR + "qr-coverage" in extensions) == (version == "2.2")
    assert {*every(response["item"], "valueCode")} == {origin}


def test_2_0_answers_a_single_package_as_it_is_and_several_in_parameters(
    client: FlaskClient,
) -> None:
    one = post(client, with_payer(call_of(MA)), url("2.0"))
    assert (one["resourceType"], one["type"]) == ("Bundle", "collection")
    another = ("questionnaire", {"valueCanonical": CANONICAL + "abn-record"})
    several = post(client, with_payer(call_of(MA), another), url("2.0"))
    assert names(several) == ["PackageBundle", "PackageBundle"]
    since = ("changedsince", {"valueDateTime": "2030-01-01T00:00:00Z"})
    nothing = post(client, with_payer(call_of(MA), since), url("2.0"))
    assert nothing["resourceType"] == "OperationOutcome"
    unknown = ("questionnaire", {"valueCanonical": CANONICAL + "none"})
    issue = post(client, with_payer(call_of(MA), unknown), url("2.0"))
    assert names(issue) == ["PackageBundle", "operationOutcome"]


@pytest.mark.parametrize("form", ["organization-determination-request", "abn-record"])
def test_the_forms_of_2_0_have_no_extension_that_2_0_does_not_know(
    client: FlaskClient, form: str
) -> None:
    of_2_2 = client.get(f"/fhir/2.2/Questionnaire/{form}").get_json()
    of_2_0 = client.get(f"/fhir/2.0/Questionnaire/{form}").get_json()
    assert DTR + "questionnaireAudience" in [*every(of_2_2, "url")]
    unknown = {DTR + "questionnaireAudience", DTR + "estimated-completion-time"}
    assert unknown.isdisjoint(every(of_2_0, "url"))
    assert [*every(of_2_0["item"], "linkId")] == [*every(of_2_2["item"], "linkId")]


CORE = "http://hl7.org/fhir/StructureDefinition/preferredTerminologyServer"
SDC_3 = (
    "http://hl7.org/fhir/uv/sdc/StructureDefinition/sdc-questionnaire-preferredTerminologyServer"
)


@pytest.mark.form_rule("dtr-terminology-server")
@pytest.mark.parametrize(
    ("prefix", "url"), [("/fhir", CORE), ("/fhir/2.0", SDC_3), ("/fhir/2.2", CORE)]
)
@pytest.mark.parametrize("form", ["oxygen-need", "oxygen-need-adaptive"])
def test_a_forms_terminology_server_is_the_address_that_serves_it(
    client: FlaskClient, prefix: str, url: str, form: str
) -> None:
    read = client.get(f"{prefix}/Questionnaire/{form}").get_json()
    base = client.get(f"{prefix}/metadata").get_json()["implementation"]["url"]
    named = [e["valueUrl"] for e in every_extension(read) if e["url"] in (CORE, SDC_3)]
    assert named == [base] * len(named)
    assert len(named) == (1 if form.endswith("adaptive") else 3)
    assert {e["url"] for e in every_extension(read) if e["url"] in (CORE, SDC_3)} == {url}


def every_extension(node: Any) -> Iterator[Json]:
    for extensions in every(node, "extension"):
        yield from extensions


def test_an_adaptive_form_is_read_in_the_shape_of_its_address(client: FlaskClient) -> None:
    of_2_0 = client.get("/fhir/2.0/Questionnaire/oxygen-need-adaptive").get_json()
    unknown = {DTR + "questionnaireAudience", DTR + "alternativeExpression"}
    assert unknown.isdisjoint(every(of_2_0, "url"))
    of_2_2 = client.get("/fhir/2.2/Questionnaire/oxygen-need-adaptive").get_json()
    assert unknown <= {*every(of_2_2, "url")}


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_the_operation_behind_a_forms_own_address_is_there_in_both(
    client: FlaskClient, version: str
) -> None:
    own = f"/fhir/{version}/Questionnaire/abn-record/$questionnaire-package"
    output = post(client, with_payer(call_of(MA)), own)
    first = output["parameter"][0]["resource"]["entry"][0]["resource"]
    assert first["id"] == "abn-record"


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_search_tells_the_address_that_was_called(client: FlaskClient, version: str) -> None:
    found: Json = client.get(f"/fhir/{version}/Questionnaire?_id=abn-record").get_json()
    (entry,) = found["entry"]
    assert entry["fullUrl"].endswith(f"/fhir/{version}/Questionnaire/abn-record")
    assert found["link"][0]["url"].endswith(f"/fhir/{version}/Questionnaire?_id=abn-record")
    assert entry["resource"]["url"] == CANONICAL + "abn-record"


@pytest.mark.parametrize("prefix", ["/fhir", "/fhir/2.0", "/fhir/2.2"])
def test_the_statement_says_what_the_routes_of_its_address_are(
    client: FlaskClient, prefix: str
) -> None:
    statement: Json = client.get(f"{prefix}/metadata").get_json()
    assert statement["implementation"]["url"].endswith(prefix)
    (rest,) = statement["rest"]
    offered = {r["type"]: r for r in rest["resource"]}
    routes = [
        rule.rule.removeprefix(prefix + "/").split("/")
        for each in applications(client.application)
        for rule in each.url_map.iter_rules()
        if rule.rule.startswith(prefix + "/")
    ]
    for kind in ("Questionnaire", "ValueSet"):
        there = {path[-1][1:] for path in routes if path[0] == kind and path[-1][0] == "$"}
        assert {op["name"] for op in offered[kind]["operation"]} == there
    assert {op["name"] for op in offered["Questionnaire"]["operation"]} >= {
        "questionnaire-package",
        "next-question",
    }
    assert {p["name"] for p in offered["Questionnaire"]["searchParam"]} == {
        *("_id", "status", "title", "url", "version")
    }


def test_a_form_may_be_named_by_its_address_in_either_version(
    client: FlaskClient, tmp_path: Path
) -> None:
    base = client.get("/fhir/2.2/metadata").get_json()["implementation"]["url"]
    named = ("questionnaire", {"valueCanonical": f"{base}/Questionnaire/abn-record"})
    output = post(client, with_payer(call_of(MA), named), url("2.2"))
    first = output["parameter"][0]["resource"]["entry"][0]["resource"]
    assert first["id"] == "abn-record"
