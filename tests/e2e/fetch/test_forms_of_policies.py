"""A policy's own form, from its first asking to the answer that it settles, at the stand-in EHR."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, Library, create_app, wire_review
from service.review.order_review import OrderReview
from service.settings import Settings
from tests.conftest import NOW, ROOT, in_folder
from tests.contract.test_example_policies import (
    CPT,
    HCPCS,
    completed,
    order_of,
    packaged,
    saturation,
)
from tests.e2e.fetch.ehrs import Ehr

Json = dict[str, Any]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return in_folder(tmp_path, policies_dir=ROOT / "examples" / "policies", fetch_budget_ms=20_000)


@pytest.fixture
def review(settings: Settings) -> OrderReview:
    return wire_review(settings, Library(settings), clock=lambda: NOW)


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings, lambda: NOW)
    yield app.test_client()
    app.extensions[RECORDER].stop()


def signed(review: OrderReview, ehr: Ehr, request: Json) -> tuple[str, tuple[str, ...]]:
    """What is said of the order, and which facts are missing, with data from the EHR."""
    asked = copy.deepcopy(request)
    asked["fhirServer"] = ehr.base
    done = review.review("order-sign-crd", json.dumps(asked).encode())
    (determination,) = done.determinations
    return determination.covered.value, tuple(spec.name for spec in determination.missing)


@pytest.mark.parametrize(("weeks", "settled"), [(8, "covered"), (2, "not-covered")])
def test_the_form_kept_by_the_ehr_settles_the_same_order(
    review: OrderReview,
    client: FlaskClient,
    ehr: Ehr,
    weeks: int,
    settled: str,
) -> None:
    request = order_of(CPT, "72148", "M54.50")
    assert signed(review, ehr, request) == ("conditional", ("weeks-of-care",))
    assert any(path.startswith("/fhir/QuestionnaireResponse?") for path in ehr.paths)

    form = completed(packaged(client, request), weeks_of_care={"valueInteger": weeks})
    ehr.store.create("QuestionnaireResponse", form)

    assert signed(review, ehr, request) == (settled, ())


def test_a_value_kept_by_the_ehr_is_searched_by_code_and_time(
    review: OrderReview, ehr: Ehr
) -> None:
    request = order_of(HCPCS, "E1390", "J44.9")
    old = {**saturation(86, "2026-06-01"), "id": "old"}
    ehr.store.create("Observation", old)
    missing = ("saturation", "blood-gas", "treatment-tried")
    assert signed(review, ehr, request) == ("conditional", missing)
    ehr.store.create("Observation", saturation(86, "2026-11-20"))
    assert signed(review, ehr, request) == ("conditional", ("treatment-tried",))
