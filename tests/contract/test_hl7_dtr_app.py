"""The way of HL7's DTR app: how it finds a package, tells an adaptive form, and gets value sets.

Requests and readings are those of the published app (HL7-DaVinci/dtr): it posts order and coverage
alone behind the address of a form.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, ROOT, in_folder
from tests.contract.test_example_policies import CPT, HCPCS, order_of
from tests.contract.test_next_question import links, with_weeks
from tests.contract.test_questionnaire_package import asked
from tests.filling import questions

Json = dict[str, Any]
SDC = "http://hl7.org/fhir/uv/sdc/StructureDefinition/"
SDC_ADAPTIVE = SDC + "sdc-questionnaire-adapt"
NAMED = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/dtr-qpackage-input-parameters|2.0.1"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """The service with the example policies."""
    folder = tmp_path_factory.mktemp("app")
    app = create_app(
        in_folder(folder, policies_dir=ROOT / "examples" / "policies"), clock=lambda: NOW
    )
    yield app.test_client()
    app.extensions[RECORDER].stop()


def read_by_the_app(result: Json) -> list[Json]:
    """The resources that the app finds: of a Bundle, or of the parameter with one of its names."""
    if result["resourceType"] == "Bundle":
        entries = result["entry"]
    else:
        names = ("PackageBundle", "return")
        entries = next(p for p in result["parameter"] if p["name"] in names)["resource"]["entry"]
    return [entry["resource"] for entry in entries]


def package(client: FlaskClient, address: str, form: str, body: Json) -> list[Json]:
    reply = client.post(f"{address}/Questionnaire/{form}/$questionnaire-package", json=body)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    return read_by_the_app(reply.get_json())


@pytest.mark.form_rule("dtr-hl7-app")
@pytest.mark.parametrize(("address", "profile"), [("/fhir/2.0", None), ("/fhir", NAMED)])
@pytest.mark.parametrize(
    ("form", "system", "code"),
    [
        ("oxygen-need", HCPCS, "E1390"),
        ("conservative-care", CPT, "72148"),
        ("hospital-bed-need", HCPCS, "E0250"),
    ],
)
def test_the_app_finds_the_package_and_the_forms_library_in_it(
    client: FlaskClient, address: str, profile: str | None, form: str, system: str, code: str
) -> None:
    body = asked(order_of(system, code, "J44.9"))
    if profile:
        body["meta"] = {"profile": [profile]}
    found = package(client, address, form, body)
    questionnaire = next(r for r in found if r["resourceType"] == "Questionnaire")
    assert questionnaire["id"] == form
    # It looks a library up by its URL alone, as the form writes it.
    wanted = {
        extension["valueCanonical"]
        for extension in questionnaire["extension"]
        if extension["url"] == "http://hl7.org/fhir/StructureDefinition/cqf-library"
    }
    assert wanted == {r["url"] for r in found if r["resourceType"] == "Library"}


@pytest.mark.form_rule("dtr-hl7-app")
def test_the_app_tells_an_adaptive_form_by_its_profile_and_asks_with_it_alone(
    client: FlaskClient,
) -> None:
    body = asked(order_of(CPT, "72148", "M54.50"))
    found = package(client, "/fhir/2.0", "conservative-care-adaptive", body)
    (response,) = (r for r in found if r["resourceType"] == "QuestionnaireResponse")
    (contained,) = response["contained"]
    assert SDC_ADAPTIVE in contained["meta"]["profile"]

    # The app writes a response of its own around the form, without items, subject or date.
    sent = {
        "resourceType": "QuestionnaireResponse",
        "meta": {"profile": [SDC + "sdc-questionnaireresponse-adapt"]},
        "contained": [contained],
        "status": "in-progress",
        "questionnaire": f"#{contained['id']}",
    }
    reply = client.post("/fhir/2.0/Questionnaire/$next-question", json=sent)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    asked_now = reply.get_json()
    (contained,) = asked_now["contained"]
    assert SDC_ADAPTIVE in contained["meta"]["profile"]
    assert "weeks-of-care" in links(contained["item"])
    end = client.post("/fhir/2.0/Questionnaire/$next-question", json=with_weeks(asked_now, 8))
    assert end.get_json()["status"] == "completed"


@pytest.mark.parametrize("address", ["/fhir", "/fhir/2.0", "/fhir/2.2"])
@pytest.mark.form_rule("dtr-hl7-app")
def test_the_app_gets_each_value_set_by_its_canonical_as_the_form_writes_it(
    client: FlaskClient, address: str
) -> None:
    body = asked(order_of(HCPCS, "E1390", "J44.9"))
    found = package(client, "/fhir/2.0", "oxygen-need", body)
    (form,) = (r for r in found if r["resourceType"] == "Questionnaire")
    named = [i["answerValueSet"] for i in questions(form["item"]) if "answerValueSet" in i]
    assert len(named) == 2
    for canonical in named:
        # Not encoded, the version's bar included.
        expanded = client.get(f"{address}/ValueSet/$expand?url={canonical}").get_json()
        assert expanded["resourceType"] == "ValueSet"
        assert f"{expanded['url']}|{expanded['version']}" == canonical
        assert all(c["code"] for c in expanded["expansion"]["contains"])
