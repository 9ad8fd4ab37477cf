"""A call's orders, coverages and needs are looked at once; again only for what was fetched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from service.bootstrap.app import Library, wire_review
from service.crd.hooks import SERVICES
from service.ehr.fhir_client import Access
from service.ehr.fhir_query import FhirQuery
from service.ehr.resource_fetcher import Fetched
from service.fhir.document import Document, Resource
from service.fhir.resources import Resources
from service.review import decide, order_review
from service.settings import Settings
from tests.bench.bodies import fixture_call, written

Counted = Counter[str]


class Ehr:
    """A fetcher that asks for the plan before and after it has brought its resources."""

    def __init__(self, *brings: dict[str, Any]) -> None:
        self._brings = brings

    def complete(
        self,
        resources: Resources,
        plan: Callable[[Resources], Sequence[FhirQuery]],
        access: Access | None,
        patient: str,
    ) -> Fetched:
        plan(resources)
        for data in self._brings:
            resources.add(Resource(data, Document(b"{}", data), (), named="fetched"))
        plan(resources)
        return Fetched()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """How often each step is taken."""
    found: Counted = Counter()

    def count(module: Any, name: str) -> None:
        step = getattr(module, name)

        def counting(*args: Any) -> Any:
            found[name] += 1
            return step(*args)

        monkeypatch.setattr(module, name, counting)

    count(order_review, "missing_needs")
    count(order_review, "read_coverage")
    count(decide, "read_order")
    return found


def review(counted: Counted, *brings: dict[str, Any]) -> None:
    def asked(*args: Any) -> Any:
        counted["asked"] += 1
        return service.asked(*args)

    service = next(s for s in SERVICES if s.hook == "order-sign")
    wired = wire_review(Settings(), Library(Settings()), fetcher=Ehr(*brings))
    reader = wired._readers[service.id]
    reader.service = replace(service, asked=asked)
    wired.review(service.id, written(fixture_call()))


def test_where_nothing_is_fetched_each_is_looked_at_once(counted: Counted) -> None:
    review(counted)
    assert counted == {"asked": 1, "missing_needs": 1, "read_coverage": 1, "read_order": 1}


def test_after_something_was_fetched_each_is_looked_at_again_and_once(counted: Counted) -> None:
    review(counted, {"resourceType": "Practitioner", "id": "brought-later"})
    # Coverages are read for the decision alone: no policy here has rules to plan by.
    assert counted == {"asked": 2, "missing_needs": 2, "read_coverage": 1, "read_order": 2}
