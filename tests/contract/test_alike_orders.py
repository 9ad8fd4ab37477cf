"""Alike orders are decided once: the answer and the record are those of orders decided one by one.

Without stand-ins the same step decides each order by itself: there is one definition of a decision.
"""

from __future__ import annotations

import copy
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import Library, wire_review
from service.decision.coverage import CoverageOutcome
from service.errors import RequestError
from service.review import order_review
from service.review.decide import DecideStep
from service.review.order_review import OrderReview
from tests.conftest import NOW, ROOT, in_folder
from tests.contract.calls import (
    FIXTURE_NAMES,
    SERVICE_OF_HOOK,
    Json,
    call_of,
    coverages_of,
    orders_of,
    with_numbered_uuids,
)
from tests.contract.payer_records import plan, records_database
from tests.contract.test_notice_on_file import ABN, filed
from tests.contract.test_payer_records import MEMBERS
from tests.contract.test_written_once import ORDINARY, mutated


class Both:
    """A review, asked in the usual way and with each order decided by itself."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, **settings: Any) -> None:
        self._patch = patch
        self.decided: Counter[str] = Counter()
        self.has_records = "payer_data" in settings
        made = in_folder(folder, **settings)
        self.review: OrderReview = wire_review(made, Library(made), clock=lambda: NOW)
        decide = DecideStep._decide

        def watched(step: DecideStep, target: Any, order: Any, *rest: Any) -> Any:
            self.decided["stand-in" if "stand-in" in order.place else "order"] += 1
            return decide(step, target, order, *rest)

        patch.setattr(DecideStep, "_decide", watched)

    def usual(self, request: Json) -> Any:
        """Answer, cards, assertions and determinations with their traces; or the refusal."""
        self.decided.clear()
        service = SERVICE_OF_HOOK[request["hook"]]
        try:
            done = self.review.review(service, written(request).encode())
        except RequestError as refusal:
            return refusal.operation_outcome()
        assert "stand-in:" not in repr(done.determinations)
        cards, answer = with_numbered_uuids(repr(done.cards).encode(), done.answer)
        return answer, cards, done.asserted, done.determinations

    def one_by_one(self, request: Json) -> Any:
        """The same with each order decided by itself."""
        with self._patch.context() as patch:
            patch.setattr(order_review, "with_alike", lambda targets: targets)
            found = self.usual(request)
        assert "stand-in" not in self.decided
        return found

    def alike(self, request: Json) -> Any:
        """The answer, which is the same in both ways."""
        expected = self.one_by_one(request)
        found = self.usual(request)
        assert found == expected
        return found


@pytest.fixture(scope="module", params=["as it is", "with records", "with rules"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("alike")
    settings: dict[str, Any] = {}
    if request.param == "with records":
        settings["payer_data"] = records_database(folder)
        with plan(settings["payer_data"], folder) as payer:
            payer.put("members", MEMBERS)
    elif request.param == "with rules":
        settings["added_policies_dir"] = ROOT / "examples" / "policies"
    patch = pytest.MonkeyPatch()
    yield Both(patch, folder, **settings)
    patch.undo()


def with_copies(request: Json, copies: int, choose: random.Random | None = None) -> Json:
    """The request with so many copies of each order or appointment, which differ in their own.

    With `choose` some differ in more.
    """
    changed = copy.deepcopy(request)
    for name in ("draftOrders", "appointments"):
        entries = changed["context"].get(name, {}).get("entry", [])
        for entry in [*entries]:
            for i in range(copies):
                another = copy.deepcopy(entry)
                order = another["resource"]
                own_elements(order, f"{order.get('id', 'none')}-{i}")
                if "fullUrl" in another:
                    another["fullUrl"] += f"-{i}"
                if choose is not None and choose.random() < 0.4:
                    differ(order, choose)
                entries.append(another)
    return changed


def written(request: Json) -> str:
    """The request's JSON, with numbers beyond what can be read: "1e400" stands for 1e400."""
    return re.sub(r'"(-?1e400)"', r"\1", json.dumps(request))


def own_elements(order: Json, own: str) -> None:
    order["id"] = own
    order["identifier"] = [{"system": "http://example.org/orders", "value": own}]
    order["meta"] = {"versionId": own}
    order["authoredOn"] = f"2026-11-{len(own) % 28 + 1:02}"
    order["text"] = {"status": "generated", "div": f"<div>{own}</div>"}


def differ(order: Json, choose: random.Random) -> None:
    """Another value of an element that a decision reads."""
    kind = choose.randrange(7)
    if kind == 0:
        order["intent"] = choose.choice(("plan", "order"))
    elif kind == 1:
        order["priority"] = choose.choice(("stat", "routine"))
    elif kind == 2:
        order["doNotPerform"] = choose.choice((True, False))
    elif kind == 3:
        order["occurrenceDateTime"] = choose.choice(("2026-12-01", "2022-01-01", "2026-12"))
    elif kind == 4:
        order["insurance"] = [
            {"reference": choose.choice(("Coverage/absent", "#inner", "Coverage/ma-ann"))}
        ]
    elif kind == 5:
        order["status"] = choose.choice(("active", "draft", "revoked"))
    else:
        order["quantityQuantity"] = {"value": choose.choice((1, 1.0, "1", 2**70))}


@pytest.mark.parametrize("version", ["2.0", "2.2"])
def test_every_fixture_with_copies_of_its_orders_is_answered_alike_in_both_ways(
    both: Both, version: str
) -> None:
    once = 0
    for name in FIXTURE_NAMES:
        request = with_copies(call_of(name, version), 2)
        request.pop("fhirServer", None)
        both.alike(request)
        once += both.decided["stand-in"] > 0
    assert once > 50


def test_mutations_of_them_are_answered_alike_in_both_ways(both: Both) -> None:
    choose = random.Random(26)
    answered = shared = 0
    for _ in range(300):
        names = choose.choice((FIXTURE_NAMES, ORDINARY))
        request = call_of(choose.choice(names), choose.choice(("2.0", "2.2")))
        request.pop("fhirServer", None)
        if choose.random() < 0.5:
            request = mutated(request, choose)
        answered += isinstance(
            both.alike(with_copies(request, choose.randint(1, 4), choose)), tuple
        )
        shared += both.decided["stand-in"] > 0
    assert answered > 200
    assert shared > 150


def test_alike_orders_are_decided_once_and_each_is_told_by_its_own_place(both: Both) -> None:
    request = with_copies(call_of("order-sign/mrs-medicare-advantage", "2.2"), 9)
    request.pop("fhirServer", None)
    *_, determinations = both.alike(request)
    assert both.decided == {"stand-in": 1}
    assert [d.order.reference for d in determinations] == [
        f"ServiceRequest/{order['id']}" for order in orders_of(request)
    ]
    for n, d in enumerate(determinations):
        place = f"context.draftOrders.entry[{n}].resource"
        assert (d.order.place, d.order.codings[0].place) == (place, f"{place}.code.coding[0]")
        (coding,) = [s for s in d.trace if s.topic == "coding"]
        assert coding.because.startswith(f"{place}.code.coding[0]: ")


def test_an_order_is_alike_only_where_all_that_is_not_its_own_is_the_same(both: Both) -> None:
    for different in (
        {"intent": "plan"},
        {"priority": "stat"},
        {"occurrenceDateTime": "2026-12-02"},
        {"note": [{"text": "another"}]},
    ):
        request = with_copies(call_of("order-sign/mrs-medicare-advantage", "2.2"), 2)
        request.pop("fhirServer", None)
        orders_of(request)[1].update(different)
        both.alike(request)
        assert both.decided == {"stand-in": 1, "order": 1}


def test_an_order_with_a_number_longer_than_64_bits_is_decided_by_itself(both: Both) -> None:
    request = with_copies(call_of("order-sign/mrs-medicare-advantage", "2.2"), 2)
    request.pop("fhirServer", None)
    for order in orders_of(request)[:2]:
        order["quantityQuantity"] = {"value": 2**70}
    both.alike(request)
    assert both.decided == {"order": 3}


def test_numbers_that_are_read_as_one_are_not_one_value(both: Both) -> None:
    request = with_copies(call_of("order-sign/mrs-medicare-advantage", "2.2"), 3)
    request.pop("fhirServer", None)
    for order, value in zip(orders_of(request), (1, 1.0, "1e400", "-1e400"), strict=True):
        order["quantityQuantity"] = {"value": value}
    both.alike(request)
    assert both.decided == {"order": 4}


def test_a_form_counts_for_the_order_that_it_names_and_for_none_that_is_alike(
    both: Both, client: FlaskClient
) -> None:
    request = with_copies(call_of("order-sign/mrs-original-medicare", "2.2"), 2)
    request.pop("fhirServer", None)
    forms = [{"resource": filed(client, "abn-record", "Patient/bo", ABN)}]
    request["prefetch"]["forms"] = {"resourceType": "Bundle", "entry": forms}
    *_, determinations = both.alike(request)
    # By the records the member is one of Medicare Advantage, which takes no such form.
    counts = not both.has_records
    assert [d.notice_on_file is not None for d in determinations] == [counts, False, False]
    assert both.decided == ({"stand-in": 1, "order": 3} if counts else {"stand-in": 1})


def test_a_decision_that_names_one_of_alike_orders_is_not_that_of_the_others(both: Both) -> None:
    request = with_copies(call_of("order-sign/denied-before", "2.2"), 2)
    request.pop("fhirServer", None)
    both.alike(request)
    assert both.decided == {"stand-in": 1, "order": 3}


def test_a_coverage_that_the_order_alone_tells_is_told_by_its_own_place(both: Both) -> None:
    request = with_copies(call_of("order-sign/mrs-medicare-advantage", "2.0"), 2)
    request.pop("fhirServer", None)
    for order in orders_of(request):
        order["insurance"] = [{"reference": "Coverage/absent"}]
    *_, determinations = both.alike(request)
    assert both.decided == {"stand-in": 1, "order": 3}
    places = [d.finding.coverage.place for d in determinations]
    assert places == [f"context.draftOrders.entry[{n}].resource.insurance" for n in range(3)]


@pytest.mark.parametrize("beside", ["#another", "Coverage/absent", "Coverage/ma-ann"])
def test_a_coverage_within_an_order_counts_beside_a_further_one_that_the_order_names(
    both: Both, beside: str
) -> None:
    request = with_copies(call_of("order-sign/mrs-medicare-advantage", "2.0"), 2)
    request.pop("fhirServer", None)
    (coverage,) = coverages_of(request)
    for order in orders_of(request):
        order["contained"] = [{**coverage, "id": "inner"}]
        order["insurance"] = [{"reference": "#inner"}, {"reference": beside}]
    *_, determinations = both.alike(request)
    assert both.decided == {"stand-in": 1, "order": 3}
    assert all(d.finding.outcome is not CoverageOutcome.NOT_AT_HAND for d in determinations)
