"""An EHR for each test, and a review that fetches from it over HTTP."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from service.bootstrap.app import Library, wire_review
from service.cli.ehr_stub.fhir_server import DEMO_TOKEN
from service.ehr.fetch_report import TokenUse
from service.review.order_review import OrderReview, Review
from service.settings import Settings
from tests.conftest import FIXTURES, NOW, fixture_text_today
from tests.e2e.fetch.ehrs import Ehr


@pytest.fixture
def ehr() -> Iterator[Ehr]:
    """An EHR with the fixtures behind it."""
    running = Ehr()
    yield running
    running.close()


@pytest.fixture
def elsewhere() -> Iterator[Ehr]:
    """A second server that nothing of the first may ever reach."""
    running = Ehr()
    yield running
    running.close()


@dataclass(frozen=True)
class ReviewTarget:
    """A call's review, and its answer as the caller gets it."""

    review: Review
    answer: dict[str, Any]

    @property
    def outcomes(self) -> dict[str, str]:
        """How each need ended, by what it was."""
        return {r.what: str(r.outcome) for r in self.review.fetched.reports}

    @property
    def token_use(self) -> TokenUse:
        return self.review.fetched.token_use

    @property
    def summaries(self) -> list[str]:
        return [c["summary"] for c in self.answer["cards"]]

    @property
    def statements(self) -> dict[str, dict[str, Any]]:
        """What is stated of each order: the last value of each part of coverage information."""
        found: dict[str, dict[str, Any]] = {}
        for action in self.answer.get("systemActions", []):
            order = action["resource"]
            parts = order["extension"][-1]["extension"]
            found[f"{order['resourceType']}/{order['id']}"] = {
                p["url"]: next((v for k, v in p.items() if k.startswith("value")), None)
                for p in parts
            }
        return found


def bare(name: str, server: str, *kept: str) -> dict[str, Any]:
    """A fixture's request, sent by an EHR at `server`, with no prefetch but the `kept` keys."""
    request: dict[str, Any] = json.loads(fixture_text_today(FIXTURES / f"{name}.json"))
    request["fhirServer"] = server
    request["fhirAuthorization"] = {"access_token": DEMO_TOKEN, "token_type": "Bearer"}
    request["prefetch"] = {k: v for k, v in request["prefetch"].items() if k in kept}
    return request


@pytest.fixture(scope="session")
def library() -> Library:
    return Library(Settings())


Ask = Callable[..., ReviewTarget]


@pytest.fixture(scope="session")
def wired(library: Library) -> Callable[..., OrderReview]:
    """A wired review with settings of its own, made once."""

    @functools.cache
    def wire(**settings: Any) -> OrderReview:
        return wire_review(Settings(**settings), library, clock=lambda: NOW)

    return wire


@pytest.fixture
def ask(wired: Callable[..., OrderReview]) -> Ask:
    """Has a request reviewed: `ask(request, allowed=…, fetch_budget_ms=…)`.

    The time that an EHR gets is long, so that a busy machine fails no test.
    """

    def post(
        request: dict[str, Any], allowed: frozenset[str] | None = None, **settings: Any
    ) -> ReviewTarget:
        done = wired(**{"fetch_budget_ms": 20_000, **settings}).review(
            f"{request['hook']}-crd", json.dumps(request).encode(), allowed
        )
        return ReviewTarget(done, msgspec.json.decode(done.answer))

    return post
