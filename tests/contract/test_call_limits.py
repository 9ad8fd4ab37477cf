"""A call is bounded by what it costs: values, resources, orders and references to fetch."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from service.bootstrap.app import RECORDER, create_app
from service.fhir.json_limits import holds_more_values
from tests.conftest import NOW, in_folder
from tests.contract.calls import coverage_of

URL = "/cds-services/order-sign-crd"
Json = dict[str, Any]
VALUES, RESOURCES, ORDERS, REFERENCES = 2000, 20, 5, 10


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A service that takes small calls only."""
    limits = {
        "max_json_values": VALUES,
        "max_resources": RESOURCES,
        "max_orders": ORDERS,
        "max_references": REFERENCES,
    }
    app = create_app(in_folder(tmp_path_factory.mktemp("narrow"), **limits), clock=lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


@pytest.fixture
def call(fixture: Callable[[str], Json]) -> Json:
    return fixture("order-sign/mrs-medicare-advantage")


def entries(call: Json) -> list[Json]:
    found: list[Json] = call["context"]["draftOrders"]["entry"]
    return found


def with_orders(call: Json, count: int) -> Json:
    first = entries(call)[0]
    for number in range(1, count):
        order = {**first["resource"], "id": f"order-{number}"}
        entries(call).append({"fullUrl": f"https://ehr.example.org/{number}", "resource": order})
    return call


def said(client: FlaskClient, call: Json) -> tuple[int, list[str]]:
    reply = client.post(URL, json=call)
    issues = (reply.get_json() or {}).get("issue", [])
    return reply.status_code, [i["diagnostics"] for i in issues]


def test_a_call_at_every_limit_is_answered(narrow: FlaskClient, call: Json) -> None:
    assert said(narrow, with_orders(call, ORDERS)) == (200, [])


@pytest.mark.threat("costly-call")
def test_a_call_with_an_order_too_many_names_the_limit_and_the_place(
    narrow: FlaskClient, call: Json
) -> None:
    status, problems = said(narrow, with_orders(call, ORDERS + 1))
    assert (status, len(problems)) == (422, 1)
    place = f"context.draftOrders.entry[{ORDERS}].resource"
    assert problems[0].startswith(f"{place}: at most {ORDERS} orders")


@pytest.mark.threat("costly-call")
def test_a_call_with_a_resource_too_many_names_the_limit_and_the_place(
    narrow: FlaskClient, call: Json
) -> None:
    more = [{"resource": {"resourceType": "Practitioner", "id": f"p{n}"}} for n in range(RESOURCES)]
    call["prefetch"]["others"] = {"resourceType": "Bundle", "type": "searchset", "entry": more}
    status, problems = said(narrow, call)
    assert (status, len(problems)) == (422, 1)
    assert f"at most {RESOURCES} resources" in problems[0]
    assert problems[0].startswith("prefetch.others.entry[")


@pytest.mark.threat("costly-call")
def test_a_call_that_refers_to_too_much_that_it_does_not_hold_is_a_422(
    narrow: FlaskClient, call: Json
) -> None:
    order = entries(call)[0]["resource"]
    order["insurance"] = [{"reference": f"Coverage/{n}"} for n in range(REFERENCES + 1)]
    status, problems = said(narrow, call)
    assert status == 422
    assert f"more than {REFERENCES} resources" in problems[0]


def test_what_several_orders_refer_to_counts_once(narrow: FlaskClient, call: Json) -> None:
    for number, entry in enumerate(entries(with_orders(call, ORDERS))):
        order = {**entry["resource"], "note": [{"text": f"differs from the others: {number}"}]}
        order["insurance"] = [{"reference": f"Coverage/{n}"} for n in range(REFERENCES // 2)]
        entry["resource"] = order
    assert said(narrow, call) == (200, [])


@pytest.mark.threat("costly-call")
def test_a_body_of_too_many_values_is_a_413_before_anything_of_it_is_read(
    narrow: FlaskClient, call: Json
) -> None:
    call["prefetch"]["others"] = [[]] * VALUES
    assert said(narrow, call) == (413, [f"holds more than {VALUES} JSON values"])
    cut = json.dumps(call).encode()[:-1]
    reply = narrow.post(URL, data=cut, content_type="application/json")
    assert reply.status_code == 413


def test_a_package_call_of_too_many_values_is_a_413(narrow: FlaskClient) -> None:
    body = {"resourceType": "Parameters", "parameter": [{"name": "x"}] * VALUES}
    reply = narrow.post("/fhir/Questionnaire/$questionnaire-package", json=body)
    assert reply.status_code == 413


@pytest.mark.threat("costly-call")
def test_feedback_of_too_many_values_is_a_413(narrow: FlaskClient) -> None:
    reply = narrow.post(f"{URL}/feedback", json={"feedback": [], "more": [[]] * VALUES})
    assert reply.status_code == 413


def packaged(client: FlaskClient, call: Json, orders: int, coverages: int) -> tuple[int, Json]:
    """Status and body of the answer to a package call of so many orders and coverages."""
    coverage = coverage_of(call)
    order = {k: v for k, v in entries(call)[0]["resource"].items() if k != "insurance"}
    asked = [
        *({"name": "coverage", "resource": {**coverage, "id": f"c{n}"}} for n in range(coverages)),
        *({"name": "order", "resource": {**order, "id": f"o{n}"}} for n in range(orders)),
    ]
    body = {"resourceType": "Parameters", "parameter": asked}
    reply = client.post("/fhir/2.0/Questionnaire/$questionnaire-package", json=body)
    told: Json = reply.get_json()
    return reply.status_code, told


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize(
    ("orders", "coverages", "place"),
    [(ORDERS + 1, 1, "parameter[6].resource"), (3, 2, "parameter[4].resource")],
)
def test_orders_of_a_package_count_once_for_each_of_their_coverages(
    narrow: FlaskClient, call: Json, orders: int, coverages: int, place: str
) -> None:
    status, told = packaged(narrow, call, orders, coverages)
    (issue,) = told["issue"]
    assert (status, issue["expression"]) == (422, [place])
    assert f"at most {ORDERS} orders in one call" in issue["diagnostics"]


@pytest.mark.threat("costly-call")
def test_a_package_at_every_limit_is_answered(narrow: FlaskClient, call: Json) -> None:
    assert packaged(narrow, call, ORDERS, 1)[0] == 200


@pytest.mark.threat("costly-call")
def test_coverages_and_resources_of_a_package_are_limited(narrow: FlaskClient, call: Json) -> None:
    status, told = packaged(narrow, call, 1, RESOURCES)
    assert (status, f"at most {RESOURCES} resources" in told["issue"][0]["diagnostics"]) == (
        422,
        True,
    )
    form = {"name": "questionnaire", "valueCanonical": "https://covercard.example/x"}
    named = [{"resourceType": "Coverage", "id": f"c{n}"} for n in range(ORDERS + 1)]
    asked = [form, *({"name": "coverage", "resource": each} for each in named)]
    body = {"resourceType": "Parameters", "parameter": asked}
    reply = narrow.post("/fhir/2.0/Questionnaire/$questionnaire-package", json=body)
    assert reply.status_code == 422
    assert "coverages" in reply.get_json()["issue"][0]["diagnostics"]


@pytest.mark.threat("costly-call")
def test_a_package_names_as_many_forms_as_a_call_may_refer_to_resources(
    narrow: FlaskClient, call: Json
) -> None:
    coverage = coverage_of(call)
    form = {"name": "questionnaire", "valueCanonical": "https://covercard.example/x"}

    def asked(forms: int) -> tuple[int, str]:
        parameters = [{"name": "coverage", "resource": coverage}, *[form] * forms]
        body = {"resourceType": "Parameters", "parameter": parameters}
        reply = narrow.post("/fhir/2.0/Questionnaire/$questionnaire-package", json=body)
        return reply.status_code, reply.get_data(as_text=True)

    assert asked(REFERENCES)[0] == 404
    status, told = asked(REFERENCES + 1)
    assert (status, f"at most {REFERENCES} questionnaires" in told) == (422, True)


def test_commas_and_brackets_within_a_text_are_no_values(narrow: FlaskClient, call: Json) -> None:
    entries(call)[0]["resource"]["note"] = [{"text": ',[{"\\' * VALUES}]
    assert said(narrow, call) == (200, [])


def count(value: object) -> int:
    children = (
        list(value.values())
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else []
    )
    return len(children) + sum(count(c) for c in children)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_the_count_is_that_of_members_and_elements_or_an_empty_container_more(
    value: object,
) -> None:
    body = json.dumps(value, ensure_ascii=False).encode()
    values = count(value)
    empty = body.count(b"[]") + body.count(b"{}")
    assert not holds_more_values(body, values + empty)
    assert values == 0 or holds_more_values(body, values - 1)


def test_the_default_limits_let_every_fixture_pass(client: FlaskClient, call: Json) -> None:
    assert said(client, with_orders(call, 100))[0] == 200


@pytest.mark.parametrize("name", ["max_json_values", "max_orders"])
def test_a_limit_that_no_call_could_keep_stops_the_start(tmp_path: Path, name: str) -> None:
    from service.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match=f"COVERCARD_{name.upper()}"):
        in_folder(tmp_path, **{name: 0})
