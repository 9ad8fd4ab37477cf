"""A policy's own form, from its first asking to the answer that it settles, at the stand-in EHR."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.bootstrap.app import RECORDER, Library, create_app, wire_review
from service.cli.ehr_stub.resource_store import ResourceStore
from service.review.order_review import OrderReview
from service.settings import Settings
from tests.conftest import FIXTURES, NOW, ROOT, in_folder
from tests.contract.test_example_policies import CPT, completed, order_of, packaged
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
    tmp_path: Path,
    weeks: int,
    settled: str,
) -> None:
    request = order_of(CPT, "72148", "M54.50")
    assert signed(review, ehr, request) == ("conditional", ("weeks-of-care",))
    assert any(path.startswith("/fhir/QuestionnaireResponse?") for path in ehr.paths)

    form = completed(packaged(client, request), weeks_of_care={"valueInteger": weeks})
    kept = tmp_path / "resources"
    shutil.copytree(FIXTURES / "resources", kept)
    (kept / f"QuestionnaireResponse-{form['id']}.json").write_text(json.dumps(form), "utf-8")
    ehr.store = ResourceStore(kept)

    assert signed(review, ehr, request) == (settled, ())
