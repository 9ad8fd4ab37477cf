"""$questionnaire-package in the words of both versions of DTR, and for clients that know none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.decision_log.recall import RecalledCall
from tests.conftest import NOW, in_folder
from tests.contract.calls import Json, call_of, coverage_of
from tests.contract.test_questionnaire_package import asked, parameters, served

MA = "order-sign/mrs-medicare-advantage"
OPERATION = "/fhir/Questionnaire/$questionnaire-package"
INPUT = "http://hl7.org/fhir/us/davinci-dtr/StructureDefinition/dtr-qpackage-input-parameters"
RECORD = "abn-record"


def names(output: Json) -> list[str]:
    return [p["name"] for p in output["parameter"]]


def with_payer(request: Json, *more: tuple[str, Any]) -> Json:
    """What a client posts of a call's order, and the payer that its coverage refers to."""
    payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
    return asked(request, ("referenced", payer), *more)


def first_form(output: Json) -> str:
    """The form that a published client reads: of the first parameter, whatever its name."""
    entries = output["parameter"][0]["resource"]["entry"]
    found = next(e["resource"] for e in entries if e["resource"]["resourceType"] == "Questionnaire")
    form: str = found["id"]
    return form


def post(client: FlaskClient, body: Json, url: str = OPERATION) -> Json:
    reply = client.post(url, json=body)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    output: Json = reply.get_json()
    return output


@pytest.mark.parametrize(
    ("told", "name"),
    [
        (None, "packagebundle"),
        (INPUT, "packagebundle"),
        (f"{INPUT}|2.2.0", "packagebundle"),
        (f"{INPUT}|2.0.1", "PackageBundle"),
        (f"{INPUT}|2.1.0", "PackageBundle"),
        (f"{INPUT}|9.0.0", "packagebundle"),
    ],
)
def test_the_version_of_the_inputs_profile_names_the_output(
    client: FlaskClient, told: str | None, name: str
) -> None:
    body = with_payer(call_of(MA))
    if told is not None:
        body["meta"] = {"profile": [told]}
    assert names(post(client, body)) == [name]


@pytest.mark.parametrize(("version", "name"), [("2.0", "PackageBundle"), ("2.2", "packagebundle")])
def test_who_got_the_answer_in_a_version_of_crd_gets_the_forms_in_that_of_dtr(
    version: str, name: str
) -> None:
    request = call_of(MA, version)
    client = served(Log(request), "clinic")
    payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
    context = ("context", {"valueString": "known"})
    body = parameters(("coverage", coverage_of(request)), ("referenced", payer), context)
    assert names(post(client, body)) == [name]


class Log:
    """A decision log that holds one call."""

    def __init__(self, request: Json) -> None:
        order = request["context"]["draftOrders"]["entry"][0]["resource"]
        service = f"{request['hook']}-crd"
        body = json.dumps(request).encode()
        self.call = RecalledCall(service, f"{order['resourceType']}/{order['id']}", body)

    def by_assertion_id(self, assertion_id: str, client: str) -> RecalledCall | None:
        return self.call


def test_an_operator_may_say_what_callers_speak_that_do_not_tell(tmp_path: Path) -> None:
    app = create_app(in_folder(tmp_path, dtr_version="2.0"), clock=lambda: NOW)
    try:
        body = with_payer(call_of(MA), ("questionnaire", {"valueCanonical": "http://x.example/y"}))
        assert names(post(app.test_client(), body)) == ["PackageBundle", "operationOutcome"]
    finally:
        app.extensions[RECORDER].stop()


def test_a_form_asked_for_by_name_comes_first(client: FlaskClient) -> None:
    canonical = f"https://covercard.example/fhir/Questionnaire/{RECORD}"
    asked_for = ("questionnaire", {"valueCanonical": canonical})
    output = post(client, with_payer(call_of(MA), asked_for))
    assert names(output) == ["packagebundle", "packagebundle"]
    assert first_form(output) == RECORD


@pytest.mark.parametrize("form", [RECORD, f"{RECORD}|1.2.0"])
def test_the_operation_behind_a_forms_own_address_gives_that_form_first(
    client: FlaskClient, form: str
) -> None:
    # The DTR reference client appends the operation to the canonical, and takes what comes first.
    url = f"/fhir/Questionnaire/{form}/$questionnaire-package"
    assert first_form(post(client, with_payer(call_of(MA)), url)) == RECORD


def test_behind_the_address_of_no_form_there_is_nothing(client: FlaskClient) -> None:
    url = "/fhir/Questionnaire/no-such-form/$questionnaire-package"
    assert client.post(url, json=with_payer(call_of(MA))).status_code == 404


def test_issues_come_after_the_forms(client: FlaskClient) -> None:
    unknown = ("questionnaire", {"valueCanonical": "http://x.example/y"})
    assert names(post(client, with_payer(call_of(MA), unknown))) == ["packagebundle", "outcome"]
