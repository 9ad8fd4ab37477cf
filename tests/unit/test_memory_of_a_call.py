"""What was read of a call goes with it, and waits for no garbage collection."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from service.bootstrap.app import Library, wire_review
from service.ehr.fhir_client import Access
from service.ehr.fhir_query import FhirQuery
from service.ehr.resource_fetcher import Fetched
from service.errors import RequestError
from service.fhir.resources import Resources
from service.settings import Settings
from tests.bench import hostile_bodies as hostile


class Watching(hostile.SilentEhr):
    """A fetcher that sees the resources of a call, and keeps them not alive."""

    def __init__(self) -> None:
        self.seen: list[weakref.ref[Resources]] = []

    def complete(
        self,
        resources: Resources,
        plan: Callable[[Resources], Sequence[FhirQuery]],
        access: Access | None,
        patient: str,
    ) -> Fetched:
        self.seen.append(weakref.ref(resources))
        return super().complete(resources, plan, access, patient)


@contextmanager
def without_collections() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


CALLS = {
    "two orders": (lambda: hostile._with_orders(hostile._base(), 2), Settings()),
    "forms": (lambda: hostile._questionnaires(2, 3, 2), Settings()),
    "asked for": (lambda: hostile._questionnaires(2, 3, 2, asked=True), Settings()),
    "rules": (lambda: hostile._oxygen("59408-5", orders=2, count=3), hostile._examples()),
    "refused": (lambda: hostile._with_orders(hostile._base(), 101), Settings()),
}


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("name", CALLS)
def test_the_resources_of_a_call_end_with_its_answer(name: str) -> None:
    """Those of many large calls would pile up, and a collection of them stops the process."""
    make, settings = CALLS[name]
    watching = Watching()
    review = wire_review(settings, Library(settings), fetcher=watching)
    body = json.dumps(make()).encode()
    with without_collections():
        refused = False
        try:
            assert review.review(hostile.SERVICE, body).answer
        except RequestError:
            refused = True
        (seen,) = watching.seen
        assert seen() is None
    assert refused == (name == "refused")
