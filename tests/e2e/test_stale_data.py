"""Each call is decided on what came with it: nothing of an earlier call is remembered."""

import json
from typing import Any

import pytest

from tests.e2e.servers import Server

PATH = "/cds-services/order-sign-crd"


def statement(server: Server, request: dict[str, Any]) -> dict[str, Any]:
    """The parts of the coverage information of the only order."""
    reply = server.post(PATH, json=request)
    assert reply.status_code == 200
    (action,) = reply.json().get("systemActions", [])
    parts = action["resource"]["extension"][-1]["extension"]
    return {p["url"]: next((v for k, v in p.items() if k.startswith("value")), None) for p in parts}


@pytest.mark.threat("stale-data")
def test_the_same_call_with_other_data_is_decided_anew(server: Server, order: bytes) -> None:
    before, after = json.loads(order), json.loads(order)
    assert before["hookInstance"] == after["hookInstance"]
    resource = after["context"]["draftOrders"]["entry"][0]["resource"]
    for coding in resource["code"]["coding"]:
        coding["code"] = "99999"
    assert statement(server, before)["covered"] == "not-covered"
    answer = server.post(PATH, json=after).json()
    assert "not-covered" not in json.dumps(answer)
    assert statement(server, before)["covered"] == "not-covered"


@pytest.mark.threat("stale-data")
def test_coverage_of_an_earlier_call_does_not_serve_the_next(server: Server, order: bytes) -> None:
    with_coverage, without = json.loads(order), json.loads(order)
    del without["prefetch"]["coverage"]
    without.pop("fhirServer", None)
    without.pop("fhirAuthorization", None)
    for entry in without["context"]["draftOrders"]["entry"]:
        entry["resource"].pop("insurance", None)
    assert statement(server, with_coverage)["coverage"]
    assert server.post(PATH, json=without).json().get("systemActions", []) == []


@pytest.mark.threat("stale-data")
def test_a_statement_says_of_which_day_it_is(server: Server, order: bytes) -> None:
    assert statement(server, json.loads(order))["date"]
