"""Whatever is done to a request: no 5xx, no wrong "covered", and each 200 is a good answer."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.crd.hooks import SERVICES
from tests.conftest import fixture_text
from tests.contract.answer_rules import (
    check_answer,
    is_silent_about_an_order,
    parts,
    stated,
)
from tests.contract.never_again import check_never_again

FIXTURES = Path(__file__).parent.parent.parent / "fhir_fixtures"
SEEDS = [
    json.loads(fixture_text(FIXTURES / f"{name}.json"))
    for name in (
        "order-sign/mrs-original-medicare",
        "order-sign/mrs-and-unrelated-mri",
        "order-sign/several-codings",
        "order-sign/crd-2.2-medicare-advantage",
        "order-sign/unknown-payer",
        "order-sign/every-order-type",
        "order-sign/approved-before",
        "order-sign/denied-before",
        "order-sign/medicare-and-medicaid",
        "order-select/mrs-selected",
        "order-dispatch/mrs-to-an-imaging-center",
        "appointment-book/appointment-for-an-order",
        "encounter-start/mrs-ordered",
        "encounter-discharge/mrs-ordered",
    )
]
SERVICE_OF_HOOK = {s.hook: s.id for s in SERVICES}
ODD_TEXTS = st.sampled_from(["", " ", "76390", "\u202e", "#x", "urn:uuid:x", "../..", "2023", "Ü"])
ODD_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t)),
    ODD_TEXTS,
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just({"resourceType": "Patient"}),
    st.just({"reference": "Patient/ann"}),
)


def mutate(
    draw: st.DrawFn, root: Any, odd: st.SearchStrategy[Any], names: Sequence[str] = ()
) -> None:
    """Replace, remove or double a value somewhere below `root`; or give a member one of `names`."""
    changes = ["replace", "remove", "double", *(["rename"] if names else ())]
    node = root
    while True:
        if isinstance(node, dict) and node:
            key: Any = draw(st.sampled_from(sorted(node)))
        elif isinstance(node, list) and node:
            key = draw(st.integers(0, len(node) - 1))
        else:
            return
        child = node[key]
        if isinstance(child, dict | list) and child and draw(st.integers(0, 3)):
            node = child
            continue
        change = draw(st.sampled_from(changes))
        if change == "replace":
            node[key] = copy.deepcopy(draw(odd))
        elif change == "remove":
            del node[key]
        elif isinstance(node, list):
            node.append(copy.deepcopy(child))
        elif change == "rename":
            node[draw(st.sampled_from(names))] = child
        return


@st.composite
def mutated_requests(draw: st.DrawFn) -> dict[str, Any]:
    """A fixture with up to four of its values replaced, removed or doubled."""
    request = copy.deepcopy(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        mutate(draw, request, ODD_VALUES)
    return request


@pytest.mark.requirement("crd-2.2.1:conf-12", "crd-2.2.1:resp-13")
@settings(
    max_examples=500,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(request=mutated_requests())
def test_a_mutated_request_gets_a_clean_answer(
    client: FlaskClient, request: dict[str, Any]
) -> None:
    service = SERVICE_OF_HOOK.get(str(request.get("hook")), "order-sign-crd")
    reply = client.post(f"/cds-services/{service}", json=request)
    assert reply.status_code in (200, 400, 412, 422), reply.get_data(as_text=True)
    body = reply.get_json()
    if reply.status_code != 200:
        assert body["resourceType"] == "OperationOutcome"
        assert all(i["diagnostics"] for i in body["issue"])
        return
    ours = {e["url"] for e in stated(body)}
    assert len(ours) <= 1
    for extension in stated(body):
        # No policy here covers anything, so no answer of ours may say that one does.
        assert parts(extension, "covered") != ["covered"]
    check_answer(body)
    check_never_again(body)
    assert not is_silent_about_an_order(request, body)
