"""An order that a call holds twice is one order: it gets one statement, as if there once."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from tests.contract.calls import FIXTURE_NAMES, Json, answer, call_of, orders_of

NAMED = ("draftOrders", "appointments", "selections", "dispatchedOrders")
"""What a context holds of orders: Bundles, or lists of references."""


def doubled(request: Json) -> Json:
    """The call with all that names or is an order twice."""
    twice = copy.deepcopy(request)
    for name in NAMED:
        held = twice["context"].get(name)
        if isinstance(held, dict):
            held["entry"] = [*held.get("entry", []), *copy.deepcopy(held.get("entry", []))]
        elif isinstance(held, list):
            twice["context"][name] = [*held, *held]
    return twice


def without_new_ids(told: Json) -> Json:
    """An answer without the ids that each answer has new."""
    kept = copy.deepcopy(told)
    for card in kept["cards"]:
        card.pop("uuid", None)
        for suggestion in card.get("suggestions", []):
            suggestion.pop("uuid", None)
            for action in suggestion.get("actions", []):
                action.get("resource", {}).pop("id", None)
    return kept


@pytest.mark.parametrize("version", ["2.0", "2.2"])
@pytest.mark.parametrize(
    "name",
    [n for n in FIXTURE_NAMES if set(call_of(n)["context"]) & set(NAMED)],
)
def test_each_call_with_its_orders_twice_is_answered_as_with_each_once(
    client: FlaskClient, name: str, version: str
) -> None:
    request = call_of(name, version)
    reply = client.post(f"/cds-services/{request['hook']}-crd", json=request)
    again = client.post(f"/cds-services/{request['hook']}-crd", json=doubled(request))
    assert again.status_code == reply.status_code
    if reply.status_code == 200:
        once, twice = reply.get_json(), again.get_json()
        assert [a["resource"]["id"] for a in twice.get("systemActions", [])] == [
            a["resource"]["id"] for a in once.get("systemActions", [])
        ]
        assert without_new_ids(twice) == without_new_ids(once)


def under_another_url(entry: Json) -> None:
    entry["fullUrl"] = "urn:uuid:0b6f3c53-97c5-4f4c-a2f7-0d1c3a1f7b60"


def without_url(entry: Json) -> None:
    entry.pop("fullUrl", None)


def in_a_bundle_of_its_own(entry: Json) -> None:
    inner = {"resourceType": "Bundle", "type": "collection", "entry": [copy.deepcopy(entry)]}
    entry["resource"] = inner


def with_itself_contained(entry: Json) -> None:
    order = entry["resource"]
    order["contained"] = [{**copy.deepcopy(order), "id": "within"}]
    order["supportingInfo"] = [{"reference": "#within"}]


@pytest.mark.parametrize(
    "change", [under_another_url, without_url, in_a_bundle_of_its_own, with_itself_contained]
)
def test_whichever_entries_name_it_an_order_has_one_update(
    client: FlaskClient, change: Callable[[Json], None]
) -> None:
    request = call_of("order-sign/mrs-medicare-advantage")
    entries = request["context"]["draftOrders"]["entry"]
    entries.append(copy.deepcopy(entries[0]))
    change(entries[-1])
    told = answer(client, request)
    (action,) = told["systemActions"]
    assert action["resource"]["id"] == "mrs-brain"
    assert len(told["cards"]) == 2


def test_of_two_states_of_one_order_the_later_is_answered(client: FlaskClient) -> None:
    request = call_of("order-sign/mrs-medicare-advantage")
    (order,) = orders_of(request)
    order["meta"] = {"lastUpdated": "2026-11-20T10:00:00Z"}
    entries = request["context"]["draftOrders"]["entry"]
    entries.insert(0, copy.deepcopy(entries[0]))
    later = entries[0]["resource"]
    later["meta"] = {"lastUpdated": "2026-11-21T10:00:00Z"}
    later["code"]["coding"] = [{"system": "http://www.ama-assn.org/go/cpt", "code": "0609T"}]
    told = answer(client, request)
    (action,) = told["systemActions"]
    assert action["resource"]["code"]["coding"][0]["code"] == "0609T"
    assert "0609T" in told["cards"][0]["summary"]


def test_two_orders_with_equal_content_stay_two(client: FlaskClient) -> None:
    request = call_of("order-sign/mrs-medicare-advantage")
    entries = request["context"]["draftOrders"]["entry"]
    entries.append(copy.deepcopy(entries[0]))
    entries[-1].pop("fullUrl", None)
    entries[-1]["resource"]["id"] = "mrs-again"
    told = answer(client, request)
    assert [a["resource"]["id"] for a in told["systemActions"]] == ["mrs-brain", "mrs-again"]
