"""ValueSet/$expand, by url and by id: active codes only, as of today."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.valueset import ValueSet
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, ROOT, in_folder

Json = dict[str, Any]
URL = "https://covercard.example/fhir/ValueSet/non-covered-codes"
EXPAND = "/fhir/ValueSet/$expand"


@pytest.fixture(scope="module")
def on_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., FlaskClient]]:
    """The service with the example policies, on a day."""
    apps = []

    def started(now: datetime = NOW) -> FlaskClient:
        settings = in_folder(
            tmp_path_factory.mktemp("expand"),
            added_policies_dir=ROOT / "examples" / "policies",
            payers_file=ROOT / "examples" / "inferno" / "payers.yaml",
        )
        apps.append(create_app(settings, clock=lambda: now))
        return apps[-1].test_client()

    yield started
    for app in apps:
        app.extensions[RECORDER].stop()


@pytest.fixture(scope="module")
def client(on_day: Callable[..., FlaskClient]) -> FlaskClient:
    return on_day()


def expanded(reply: Any) -> Json:
    assert reply.status_code == 200, reply.get_data(as_text=True)
    assert reply.content_type == "application/fhir+json"
    value_set: Json = reply.get_json()
    ValueSet.model_validate(value_set)
    return value_set


def codes(value_set: Json) -> list[str]:
    return [c["code"] for c in value_set["expansion"].get("contains", ())]


def parameters(**values: Any) -> Json:
    made = [{"name": name, **value} for name, value in values.items()]
    return {"resourceType": "Parameters", "parameter": made}


@pytest.mark.form_rule("dtr-expand")
def test_a_value_set_is_expanded_with_the_codes_and_the_time_of_today(client: FlaskClient) -> None:
    value_set = expanded(client.get(EXPAND, query_string={"url": URL}))
    assert value_set["url"] == URL
    assert datetime.fromisoformat(value_set["expansion"]["timestamp"]).date() == NOW.date()
    assert value_set["expansion"]["total"] == len(codes(value_set)) == 290
    # Its first ten codes ended in June.
    assert "X0010" not in codes(value_set)
    assert {c["system"] for c in value_set["expansion"]["contains"]} == {
        "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
    }
    assert value_set["expansion"]["contains"][0]["display"] == "Example item 11"


@pytest.mark.form_rule("dtr-expand")
def test_a_code_is_active_on_its_own_days_only(on_day: Callable[..., FlaskClient]) -> None:
    earlier = on_day(datetime(2026, 6, 30, 12, tzinfo=UTC))
    value_set = expanded(earlier.get(EXPAND, query_string={"url": URL}))
    assert "X0010" in codes(value_set)
    assert value_set["version"] == "2026-01-01"


@pytest.mark.parametrize("prefix", ["/fhir", "/fhir/2.0", "/fhir/2.2"])
def test_by_url_by_id_and_by_parameters_it_is_the_same(client: FlaskClient, prefix: str) -> None:
    by_url = expanded(client.get(f"{prefix}/ValueSet/$expand", query_string={"url": URL}))
    assert expanded(client.get(f"{prefix}/ValueSet/non-covered-codes/$expand")) == by_url
    body = parameters(url={"valueUri": f"{URL}|{by_url['version']}"})
    assert expanded(client.post(f"{prefix}/ValueSet/$expand", json=body)) == by_url


def test_a_part_is_asked_for_by_count_and_offset(client: FlaskClient) -> None:
    body = parameters(url={"valueUri": URL}, count={"valueInteger": 2}, offset={"valueInteger": 3})
    value_set = expanded(client.post(EXPAND, json=body))
    assert codes(value_set) == ["X0014", "X0015"]
    assert (value_set["expansion"]["offset"], value_set["expansion"]["total"]) == (3, 290)
    beyond = client.get(EXPAND, query_string={"url": URL, "count": "5", "offset": "1000"})
    assert codes(expanded(beyond)) == []


@pytest.mark.parametrize(
    ("filter_", "found"),
    [("x0011", ["X0011"]), ("item 300", ["X0300"]), ("300 EXAMPLE", ["X0300"]), ("nothing", [])],
)
def test_a_filter_finds_codes_by_their_begin_and_names_by_their_words(
    client: FlaskClient, filter_: str, found: list[str]
) -> None:
    value_set = expanded(client.get(EXPAND, query_string={"url": URL, "filter": filter_}))
    assert codes(value_set) == found
    told = {p["name"] for p in value_set["expansion"]["parameter"]}
    assert {"activeOnly", "filter"} <= told


@pytest.mark.threat("costly-call")
def test_a_filter_longer_than_one_types_is_refused(client: FlaskClient) -> None:
    """Each of its words would be looked for in the name of each code."""
    for words, status in ((100, 200), (101, 400), (400_000, 400)):
        body = parameters(url={"valueUri": URL}, filter={"valueString": "e " * words})
        reply = client.post(EXPAND, json=body)
        assert reply.status_code == status


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        ({"url": "https://elsewhere.example.org/ValueSet/x"}, 404),
        ({"url": URL + "|1999-01-01"}, 404),
        ({"url": URL, "count": "-1"}, 400),
        ({"url": URL, "count": "many"}, 400),
        ({"url": "https://covercard.example/fhir/ValueSet/chronic-lung-disease"}, 422),
    ],
)
def test_what_cannot_be_expanded_is_an_operation_outcome(
    client: FlaskClient, query: Json, status: int
) -> None:
    reply = client.get(EXPAND, query_string=query)
    assert reply.status_code == status
    OperationOutcome.model_validate(reply.get_json())


@pytest.mark.parametrize("body", [{}, {"resourceType": "Parameters", "parameter": ["x"]}])
def test_a_body_that_is_no_parameters_resource_is_refused(client: FlaskClient, body: Json) -> None:
    assert client.post(EXPAND, json=body).status_code == 400


def test_the_definition_of_a_value_set_is_open(client: FlaskClient, tmp_path: Path) -> None:
    value_set = client.get("/fhir/ValueSet/red-flags").get_json()
    ValueSet.model_validate(value_set)
    assert "expansion" not in value_set
    assert client.get("/fhir/ValueSet/none").status_code == 404
