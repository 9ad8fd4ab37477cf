"""Bad input gets a clear answer: an OperationOutcome, the place, what was expected; never a 500."""

import copy
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from service.database.engines import database_file
from tests.conftest import in_folder

URL = "/cds-services/order-sign-crd"
Read = Callable[[str], dict[str, Any]]

# JSON that is no CDS Hooks call, or no FHIR: each version of CRD has its own status for it.
in_each_version = pytest.mark.parametrize(
    ("version", "status"), [(None, 422), ("2.0", 422), ("2.2", 400)]
)


def asked_in(version: str | None, request: dict[str, Any]) -> dict[str, Any]:
    """The request, asking for an answer in that version of CRD."""
    if version is not None:
        request["extension"] = {"davinci-crd.requestedVersion": version}
    return request


@pytest.fixture
def good(fixture: Read) -> dict[str, Any]:
    return fixture("order-sign/mrs-medicare-advantage")


def problems(reply: Any) -> list[str]:
    """What an error answer says, after checking that it says it as an OperationOutcome."""
    outcome = reply.get_json()
    assert outcome["resourceType"] == "OperationOutcome"
    assert all(i["severity"] == "error" and i["code"] for i in outcome["issue"])
    return [i["diagnostics"] for i in outcome["issue"]]


@pytest.mark.requirement(
    "crd-2.2.1:hook-9",
    "crd-2.2.1:hook-10",
    "crd-2.2.1:hook-13",
    "crd-2.0.1:158",
    "crd-2.0.1:159",
    "crd-2.0.1:162",
)
@pytest.mark.parametrize(
    "body", [b"", b"{", b"not json", b'{"a": NaN}', b'{"hook": "a", "hook": "b"}', b"\xff\xfe"]
)
def test_what_is_not_json_is_a_400(client: FlaskClient, body: bytes) -> None:
    reply = client.post(URL, data=body, content_type="application/json")
    assert reply.status_code == 400
    assert "not JSON" in problems(reply)[0]


@pytest.mark.requirement("crd-2.0.1:163")
@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null"])
def test_json_that_is_no_object_is_a_422(client: FlaskClient, body: bytes) -> None:
    reply = client.post(URL, data=body, content_type="application/json")
    assert reply.status_code == 422
    assert "JSON object" in problems(reply)[0]


def test_another_content_type_is_a_415(client: FlaskClient, good: dict[str, Any]) -> None:
    reply = client.post(URL, data=json.dumps(good), content_type="text/plain")
    assert reply.status_code == 415
    assert "application/json" in problems(reply)[0]


@pytest.mark.requirement("crd-2.0.1:163", "crd-2.2.1:hook-13", "crd-2.2.1:hook-14")
@in_each_version
@pytest.mark.parametrize("missing", ["hook", "hookInstance", "context"])
def test_a_missing_element_of_the_call_is_named(
    client: FlaskClient, good: dict[str, Any], missing: str, version: str | None, status: int
) -> None:
    del good[missing]
    reply = client.post(URL, json=asked_in(version, good))
    assert reply.status_code == status
    assert problems(reply) == [f"missing: {missing}"]


@pytest.mark.requirement("crd-2.0.1:168")
@in_each_version
@pytest.mark.parametrize("missing", ["userId", "patientId", "draftOrders"])
def test_a_missing_element_of_the_context_is_named(
    client: FlaskClient, good: dict[str, Any], missing: str, version: str | None, status: int
) -> None:
    del good["context"][missing]
    reply = client.post(URL, json=asked_in(version, good))
    assert reply.status_code == status
    assert problems(reply) == [f"context: missing: {missing}"]


@in_each_version
def test_another_hook_than_the_services_is_refused(
    client: FlaskClient, good: dict[str, Any], version: str | None, status: int
) -> None:
    good["hook"] = "patient-view"
    reply = client.post(URL, json=asked_in(version, good))
    assert reply.status_code == status
    assert problems(reply) == ['hook: expected "order-sign"']


@pytest.mark.requirement("crd-2.0.1:163", "crd-2.2.1:hook-13")
@in_each_version
@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("hookInstance", 7, "hookInstance: expected a string"),
        ("context", [], "context: expected an object"),
        ("context.draftOrders", [], "context.draftOrders: expected an object"),
        ("context.draftOrders.entry", {}, "context.draftOrders.entry: expected a list"),
        (
            "context.draftOrders.entry.0.resource.code",
            76390,
            "context.draftOrders.entry[0].resource.code: expected an object",
        ),
        (
            "context.draftOrders.entry.0.resource.code.coding.0.code",
            76390,
            "context.draftOrders.entry[0].resource.code.coding[0].code: expected a string",
        ),
        (
            "context.draftOrders.entry.0.resource.occurrenceDateTime",
            "next week",
            "context.draftOrders.entry[0].resource.occurrenceDateTime: expected a FHIR date",
        ),
        ("prefetch.coverage", [], "prefetch.coverage: expected an object or null"),
    ],
)
def test_what_contradicts_fhir_or_cds_hooks_is_placed(
    client: FlaskClient,
    good: dict[str, Any],
    path: str,
    value: object,
    said: str,
    version: str | None,
    status: int,
) -> None:
    *parents, last = path.split(".")
    node: Any = good
    for step in parents:
        node = node[int(step)] if isinstance(node, list) else node[step]
    node[int(last) if isinstance(node, list) else last] = value
    reply = client.post(URL, json=asked_in(version, good))
    assert reply.status_code == status
    assert any(p.startswith(said) for p in problems(reply)), problems(reply)


@pytest.mark.requirement("cds-hooks-2.0:76")
def test_an_unknown_service_is_a_404(client: FlaskClient, good: dict[str, Any]) -> None:
    reply = client.post("/cds-services/no-such-service", json=good)
    assert reply.status_code == 404
    assert "GET /cds-services" in problems(reply)[0]


def test_an_unknown_page_is_a_404_in_json(client: FlaskClient) -> None:
    reply = client.get("/no/such/page")
    assert reply.status_code == 404
    assert problems(reply) == ["not found"]


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_a_wrong_method_is_a_405(client: FlaskClient, method: str) -> None:
    reply = getattr(client, method)(URL)
    assert reply.status_code == 405
    assert "POST" in reply.headers["Allow"]
    assert problems(reply) == ["method not allowed"]


def test_a_body_above_the_limit_is_a_413(client: FlaskClient) -> None:
    reply = client.post(URL, data=b" " * 1_048_577, content_type="application/json")
    assert reply.status_code == 413
    assert problems(reply) == ["larger than 1048576 bytes"]


def test_values_nested_deeper_than_64_levels_are_a_400(
    client: FlaskClient, good: dict[str, Any]
) -> None:
    nested: Any = "end"
    for _ in range(70):
        nested = [nested]
    good["extension"] = {"deep": nested}
    reply = client.post(URL, json=good)
    assert reply.status_code == 400
    assert problems(reply) == ["nested deeper than 64 levels"]


def test_no_value_of_the_request_comes_back_in_an_error(
    client: FlaskClient, good: dict[str, Any]
) -> None:
    good["context"]["patientId"] = {"name": "Secretname"}
    good["context"]["draftOrders"]["entry"][0]["resource"]["code"] = "Secretcode"
    reply = client.post(URL, json=good)
    assert reply.status_code == 422
    assert "Secret" not in reply.get_data(as_text=True)


@pytest.mark.requirement("crd-2.2.1:found-33", "crd-2.2.1:hook-23", "crd-2.0.1:169")
def test_unknown_elements_are_ignored_everywhere(client: FlaskClient, good: dict[str, Any]) -> None:
    odd = copy.deepcopy(good)
    odd["surprise"] = odd["context"]["surprise"] = {"a": [1]}
    odd["context"]["draftOrders"]["entry"][0]["resource"]["surprise"] = True
    plain, with_odd = (client.post(URL, json=r) for r in (good, odd))
    assert with_odd.status_code == 200
    summaries = [[c["summary"] for c in r.get_json()["cards"]] for r in (plain, with_odd)]
    assert summaries[0] == summaries[1] != []


def test_ten_thousand_orders_get_a_clean_answer_and_are_recorded(
    fixture: Read, tmp_path: Path
) -> None:
    request = fixture("order-sign/mrs-medicare-advantage")
    entry = request["context"]["draftOrders"]["entry"][0]
    many = []
    for n in range(10_000):
        resource = {k: entry["resource"][k] for k in ("resourceType", "status", "intent", "code")}
        many.append({"resource": {**resource, "id": f"order-{n}"}})
    request["context"]["draftOrders"]["entry"] = many
    wide = {"max_json_values": 1_000_000, "max_resources": 10_100, "max_orders": 10_000}
    accepted = {"accepted_risks": "unbounded-limits"}
    settings = in_folder(tmp_path, max_body_bytes=32_000_000, **wide, **accepted)
    app = create_app(settings)
    reply = app.test_client().post(URL, json=request)
    app.extensions[RECORDER].stop()
    assert reply.status_code == 200
    assert len(reply.get_json()["cards"]) == 2
    assert len(reply.get_json().get("systemActions", [])) == 10_000
    with sqlite3.connect(database_file(settings.database_url)) as log:
        logged = log.execute("SELECT count(*) FROM determination").fetchone()[0]
    assert logged == 10_000
