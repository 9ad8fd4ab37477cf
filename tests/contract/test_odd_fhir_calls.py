"""Calls below /fhir as a client's developer makes them at first: each refusal names the repair."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, create_app
from tests.conftest import NOW, ROOT, in_folder
from tests.contract.calls import Json, call_of, coverage_of, orders_of
from tests.contract.test_dtr_versions import with_payer
from tests.contract.test_example_policies import CPT, order_of
from tests.contract.test_next_question import CANONICAL, WEEKS, with_weeks
from tests.contract.test_package_contents import resources
from tests.contract.test_questionnaire_package import asked, parameters

MA = "order-sign/mrs-medicare-advantage"
PACKAGE = "/fhir/2.2/Questionnaire/$questionnaire-package"
NEXT = "/fhir/2.2/Questionnaire/$next-question"
EXPAND = "/fhir/2.2/ValueSet/$expand"
EQUIPMENT = "https://covercard.example/fhir/ValueSet/oxygen-equipment"
PREFIXES = ("/fhir", "/fhir/2.0", "/fhir/2.2")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """The service with the example policies."""
    app = create_app(
        in_folder(
            tmp_path_factory.mktemp("odd"), added_policies_dir=ROOT / "examples" / "policies"
        ),
        clock=lambda: NOW,
    )
    yield app.test_client()
    app.extensions[RECORDER].stop()


def issue(reply: Any, status: int) -> Json:
    """The only issue of a refusal."""
    assert reply.status_code == status, reply.get_data(as_text=True)
    assert reply.content_type == "application/fhir+json"
    (found,) = reply.get_json()["issue"]
    issue: Json = found
    return issue


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "operation", ["$questionnaire-package", "$next-question", "$log-questionnaire-errors"]
)
def test_an_operation_that_is_read_says_that_it_is_posted_to(
    client: FlaskClient, prefix: str, operation: str
) -> None:
    reply = client.get(f"{prefix}/Questionnaire/{operation}")
    assert issue(reply, 405)["code"] == "not-supported"
    assert "POST" in reply.headers["Allow"]
    assert "GET" not in reply.headers["Allow"]


def test_an_operation_that_is_not_there_is_not_found(client: FlaskClient) -> None:
    assert issue(client.post("/fhir/Questionnaire/$populate", json={}), 404)["code"] == "not-found"


def test_another_content_type_is_refused_with_those_that_are_read(client: FlaskClient) -> None:
    reply = client.post(PACKAGE, data=b"{}", content_type="application/fhir+xml")
    assert "application/fhir+json" in issue(reply, 415)["diagnostics"]


@pytest.mark.parametrize("name", ["coverage", "order", "referenced"])
def test_a_reference_in_place_of_a_resource_is_refused_at_its_place(
    client: FlaskClient, name: str
) -> None:
    body = asked(call_of(MA), ("referenced", {"resourceType": "Patient", "id": "ann"}))
    at = next(i for i, p in enumerate(body["parameter"]) if p["name"] == name)
    body["parameter"][at] = {"name": name, "valueReference": {"reference": "Coverage/x"}}
    found = issue(client.post(PACKAGE, json=body), 400)
    assert found["expression"] == [f"parameter[{at}].resource"]


@pytest.mark.parametrize(
    ("since", "comes"),
    [
        ("2020", True),
        ("2020-01", True),
        ("2020-01-31", True),
        ("2999-12-31", False),
        ("2020-01-31T00:00:00Z", True),
    ],
)
def test_changedsince_may_be_a_day_a_month_or_a_year(
    client: FlaskClient, since: str, comes: bool
) -> None:
    body = with_payer(call_of(MA), ("changedsince", {"valueDateTime": since}))
    reply = client.post(PACKAGE, json=body)
    assert reply.status_code == 200, reply.get_data(as_text=True)
    names = [p["name"] for p in reply.get_json()["parameter"]]
    assert ("packagebundle" in names) == comes


@pytest.mark.parametrize("since", ["2020-01-31T00:00:00", "yesterday", "2020-13", "2020-1-1"])
def test_another_time_is_refused(client: FlaskClient, since: str) -> None:
    body = with_payer(call_of(MA), ("changedsince", {"valueDateTime": since}))
    place = f"parameter[{len(body['parameter']) - 1}].valueDateTime"
    assert issue(client.post(PACKAGE, json=body), 400)["expression"] == [place]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("canonical", [CANONICAL, f"{CANONICAL}|1.0.0"])
def test_an_adaptive_form_is_found_by_its_canonical(
    client: FlaskClient, prefix: str, canonical: str
) -> None:
    found = client.get(f"{prefix}/Questionnaire?url={canonical}").get_json()
    (entry,) = found["entry"]
    assert entry["resource"]["url"] == CANONICAL
    assert entry["resource"] == client.get(entry["fullUrl"]).get_json()


@pytest.mark.parametrize("name", ["title:contains", "url:below", "_id:not"])
def test_a_modifier_is_refused_and_never_ignored(client: FlaskClient, name: str) -> None:
    assert "modifier" in issue(client.get(f"/fhir/Questionnaire?{name}=x"), 400)["diagnostics"]


@pytest.mark.parametrize("told", [f"url={EQUIPMENT}&url=http://x.example", "count=1&count=2"])
def test_a_parameter_of_an_expansion_stands_there_once(client: FlaskClient, told: str) -> None:
    reply = client.get(f"/fhir/ValueSet/oxygen-equipment/$expand?{told}")
    assert "once" in issue(reply, 400)["diagnostics"]
    twice = [{"name": "count", "valueInteger": n} for n in (1, 2)]
    body = {"resourceType": "Parameters", "parameter": twice}
    assert issue(client.post("/fhir/ValueSet/oxygen-equipment/$expand", json=body), 400)


def test_a_value_set_at_its_own_address_needs_no_parameter(client: FlaskClient) -> None:
    reply = client.post(
        "/fhir/ValueSet/oxygen-equipment/$expand", json={"resourceType": "Parameters"}
    )
    assert reply.status_code == 200
    assert len(reply.get_json()["expansion"]["contains"]) == 8


def test_a_number_is_written_in_ascii(client: FlaskClient) -> None:
    assert issue(client.get(f"{EXPAND}?url={EQUIPMENT}&count=\u0663"), 400)["code"] == "invalid"


@pytest.fixture
def asked_now(client: FlaskClient) -> Json:
    """The response to an adaptive form whose only question is asked."""
    request = order_of(CPT, "72148", "M54.50")
    payer = request["prefetch"]["coverage"]["entry"][1]["resource"]
    body = parameters(
        ("coverage", coverage_of(request)),
        *(("order", order) for order in orders_of(request)),
        ("referenced", payer),
        ("questionnaire", {"valueCanonical": CANONICAL}),
    )
    _, response = resources(client.post(PACKAGE, json=body).get_json())
    asked_for: Json = client.post(NEXT, json=response).get_json()
    return asked_for


def test_an_answer_given_twice_is_refused_whichever_it_is(
    client: FlaskClient, asked_now: Json
) -> None:
    once = with_weeks(asked_now, 8)
    inside, outside = copy.deepcopy(once), copy.deepcopy(once)
    inside["item"][0]["item"].append({**WEEKS, "answer": [{"valueInteger": 2}]})
    outside["item"].append(with_weeks(asked_now, 2)["item"][0])
    assert issue(client.post(NEXT, json=inside), 400)["expression"] == ["item[0].item[1]"]
    assert issue(client.post(NEXT, json=outside), 400)["expression"] == ["item[1]"]


def test_an_answer_has_one_value_of_32_bits(client: FlaskClient, asked_now: Json) -> None:
    two = with_weeks(asked_now, 8)
    two["item"][0]["item"][0]["answer"][0]["valueString"] = "eight"
    place = ["item[0].item[0].answer[0]"]
    assert issue(client.post(NEXT, json=two), 400)["expression"] == place
    assert issue(client.post(NEXT, json=with_weeks(asked_now, 10**12)), 400)["expression"] == place


def test_items_are_a_list(client: FlaskClient, asked_now: Json) -> None:
    wrong = {**asked_now, "item": {"linkId": "care"}}
    assert issue(client.post(NEXT, json=wrong), 400)["expression"] == ["item"]
