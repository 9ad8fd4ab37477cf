"""The stand-in of alike orders tells nothing that they do not have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from service.crd.cds_service import ReviewTarget
from service.decision.facts import FactSource, Family
from service.decision.order import Order
from service.fhir.document import Resource
from service.fhir.orders import read_order
from service.fhir.resources import Resources
from service.review.alike_orders import NotInCommon, one_of_each, order_of, with_alike
from tests.unit.test_facts_from_fhir import LAST, ORDER, facts_of, resource

OWN = {
    "id": "another",
    "identifier": [{"value": "1"}],
    "meta": {"versionId": "2"},
    "text": {"div": "<div/>"},
    "authoredOn": "2026-06-14",
}


def targets(*orders: dict[str, Any]) -> list[ReviewTarget]:
    return [
        ReviewTarget(Resource(o, resource(o).document, ("context", n)))
        for n, o in enumerate(orders)
    ]


@pytest.fixture
def stand_in() -> Resource:
    first, second = with_alike(targets(ORDER, {**ORDER, **OWN}))
    assert first.alike is second.alike
    assert first.alike is not None
    return first.alike.resource


def test_orders_that_differ_in_more_than_their_own_have_no_stand_in() -> None:
    other = {**ORDER, "intent": "plan"}
    found = with_alike(targets(ORDER, other, {**ORDER, **OWN}, {**ORDER, "status": "active"}))
    assert [t.alike is not None for t in found] == [True, False, True, False]
    assert [t.resource.path for t in one_of_each(found)] == [("context", n) for n in (0, 1, 3)]
    assert all(t.alike is None for t in with_alike(targets(ORDER)))


def test_an_order_whose_day_an_appointment_sets_has_no_stand_in() -> None:
    first, second = targets(ORDER, {**ORDER, **OWN})
    booked = resource({"resourceType": "Appointment"})
    found = with_alike([replace(first, appointment=booked), second])
    assert all(t.alike is None for t in found)


@pytest.mark.parametrize("element", list(OWN))
def test_an_element_of_their_own_cannot_be_asked_for(stand_in: Resource, element: str) -> None:
    asked: list[Callable[[], object]] = [
        lambda: stand_in.data.get(element),
        lambda: stand_in.data[element],
        lambda: element in stand_in.data,
    ]
    for ask in asked:
        with pytest.raises(NotInCommon):
            ask()
    assert "status" in stand_in.data
    assert stand_in.data["status"] == stand_in.data.get("status") == "draft"
    assert stand_in.data.get("priority") is None


def test_its_reference_is_compared_with_none(stand_in: Resource) -> None:
    reference = read_order(stand_in, Resources()).reference
    compare: list[Callable[[], object]] = [
        lambda: reference == "ServiceRequest/o",
        lambda: reference != "ServiceRequest/o",
        lambda: reference in ("ServiceRequest/o",),
        lambda: {"ServiceRequest/o"}.isdisjoint([reference]),
        lambda: {}.get(reference),
        lambda: sorted(["ServiceRequest/o", reference]),
    ]
    for each in compare:
        with pytest.raises(NotInCommon):
            each()


def test_its_order_is_that_of_each_but_for_place_and_reference(stand_in: Resource) -> None:
    order = {
        **ORDER,
        "insurance": [{"reference": "#inner"}],
        "code": {"coding": [{"code": "82270"}, {"system": "x", "code": "y"}], "text": "as ordered"},
    }
    first, second = with_alike(targets(order, {**order, **OWN}))
    assert first.alike is not None
    shared = read_order(first.alike.resource, Resources())
    for target in (first, second):
        found: Order = order_of(target.resource, shared)
        assert found == read_order(target.resource, Resources())


def test_whether_there_was_an_earlier_order_is_no_fact_of_a_stand_in(stand_in: Resource) -> None:
    """Each of the orders may be the earlier one of the others."""
    spec = replace(LAST, source=FactSource(Family.ORDER))
    order = {**ORDER, "status": "active"}
    assert not facts_of(order).get(spec).known
    facts = facts_of(order)
    facts.order = read_order(stand_in, facts.resources)
    with pytest.raises(NotInCommon):
        facts.get(spec)
