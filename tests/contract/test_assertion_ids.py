"""A coverage-assertion-id stands for its facts: same facts, same id; other facts, another id."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.contract.answer_rules import parts, stated

Change = Callable[[dict[str, Any], dict[str, Any]], object]


@pytest.fixture
def assertion_id(
    client: FlaskClient, fixture: Callable[[str], dict[str, Any]]
) -> Callable[[Change], str]:
    """The id of the main fixture's statement after a change to its request and order."""

    def of(change: Change) -> str:
        request = fixture("order-sign/mrs-medicare-advantage")
        change(request, request["context"]["draftOrders"]["entry"][0]["resource"])
        service = f"{request['hook']}-crd"
        reply = client.post(f"/cds-services/{service}", json=request)
        assert reply.status_code == 200, reply.get_data(as_text=True)
        (statement,) = stated(reply.get_json())
        (found,) = parts(statement, "coverage-assertion-id")
        return str(found)

    return of


@pytest.mark.parametrize(
    "change",
    [
        lambda request, _: request.update(hookInstance="another"),
        lambda _, order: order.update(priority="routine"),
        lambda _, order: order["code"]["coding"].append({"system": "urn:local", "code": "x"}),
    ],
)
def test_what_does_not_matter_leaves_the_id(
    assertion_id: Callable[[Change], str], change: Change
) -> None:
    assert assertion_id(change) == assertion_id(lambda *_: None)


@pytest.mark.parametrize(
    "change",
    [
        lambda _, order: order.update(id="another"),
        lambda _, order: order["code"]["coding"][0].update(code="0609T"),
        lambda _, order: order.update(occurrenceDateTime="2026-12-02"),
        lambda request, _: request.update(fhirServer="https://another.example/fhir"),
        # Written otherwise: 2.0 has codes beside not-covered that 2.2 forbids.
        lambda request, _: request.update(extension={"davinci-crd.requestedVersion": "2.2"}),
    ],
)
def test_what_matters_changes_the_id(assertion_id: Callable[[Change], str], change: Change) -> None:
    assert assertion_id(change) != assertion_id(lambda *_: None)


def test_an_early_statement_without_a_form_is_another_one_than_that_at_signing(
    assertion_id: Callable[[Change], str],
) -> None:
    def select(request: dict[str, Any], order: dict[str, Any]) -> None:
        request["hook"] = "order-select"
        request["context"]["selections"] = [f"ServiceRequest/{order['id']}"]

    assert assertion_id(select) != assertion_id(lambda *_: None)
