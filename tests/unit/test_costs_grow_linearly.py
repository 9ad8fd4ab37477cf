"""A call of twice the content costs twice the operations: nothing is looked through for each order.

Operations are the interpreter's: they are the same on every machine, however busy.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from service.bootstrap.app import Library, wire_review
from service.decision_log.call_record import CallRecord
from service.decision_log.token_removal import without_tokens, without_tokens_in
from service.fhir.json_limits import values_in
from service.review.order_review import OrderReview
from service.settings import Settings
from tests.bench import hostile_bodies as hostile
from tests.conftest import NOW

Json = dict[str, Any]
MOST = 2.5
"""Twice is linear, four times quadratic; some is left for what grows in steps."""

KINDS: dict[str, Callable[[int], Json]] = {
    "orders": lambda n: hostile._with_orders(hostile._base(), n),
    "coverages": lambda n: hostile._many("Coverage", 1, 8 * n, status="active"),
    "conditions": lambda n: hostile._many("Condition", n, 8 * n),
    "authorizations": lambda n: hostile._claims(n, 8 * n, 2),
    "items of authorizations": lambda n: hostile._claims(n, n, 8),
    "responses": lambda n: hostile._questionnaires(1, 8 * n, 4),
    "answers": lambda n: hostile._questionnaires(n, 1, 20 * n, asked=True),
    "codings": lambda n: hostile._different_codings(20 * n),
    "references": lambda n: hostile._references(n, 10 * n, "Condition/x"),
    "insurances": lambda n: hostile._repeated("insurance", {"reference": "Coverage/a"}, 10 * n),
    "contained coverages": lambda n: hostile._contained(20 * n, 1),
    "payors": lambda n: hostile._payors(20 * n),
    "contained procedures": lambda n: hostile._code_references(20 * n),
    "participants": lambda n: hostile._participants(20 * n, n),
    "nulls": lambda n: hostile._prefetched(hostile._base(), [{"a": {"b": None}}] * 20 * n),
}
UNDER_RULES: dict[str, Callable[[int], Json]] = {
    "observations": lambda n: hostile._oxygen("59408-5", orders=n, count=8 * n),
    "other observations": lambda n: hostile._oxygen("1-1", orders=n, count=8 * n),
    "tests": lambda n: hostile._tests(orders=n, count=8 * n),
}


def reviewing(settings: Settings) -> OrderReview:
    return wire_review(settings, Library(settings), fetcher=hostile.SilentEhr())


@pytest.fixture(scope="module")
def review() -> OrderReview:
    return reviewing(Settings())


@pytest.fixture(scope="module")
def ruled() -> OrderReview:
    return reviewing(hostile._examples())


def operations(review: OrderReview, call: Json) -> int:
    """The bytecodes that a review of the call takes."""
    body, counted = json.dumps(call).encode(), 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal counted
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted += event == "opcode"
        return trace

    review.review(hostile.SERVICE, body)  # what is made once is made
    former = sys.gettrace()
    sys.settrace(trace)
    try:
        review.review(hostile.SERVICE, body)
    finally:
        sys.settrace(former)
    return counted


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("kind", KINDS)
def test_twice_as_much_costs_twice_as_much(kind: str, review: OrderReview) -> None:
    once, twice = (operations(review, KINDS[kind](n)) for n in (10, 20))
    assert twice <= MOST * once


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("kind", UNDER_RULES)
def test_under_rules_too(kind: str, ruled: OrderReview) -> None:
    once, twice = (operations(ruled, UNDER_RULES[kind](n)) for n in (8, 16))
    assert twice <= MOST * once


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("part", ["a", "eyJ", "token=", "bearer ", "://", "a.", "%"])
def test_a_word_without_an_end_is_looked_through_for_tokens_once(part: str) -> None:
    """It would else be looked through again from each of its letters: for hours."""
    text = f"eyJ bearer {part * 200_000} x=1 @"
    assert "x=1" in (without_tokens_in(text) or "")


@pytest.mark.threat("costly-call")
def test_a_body_of_masses_of_tokens_is_not_kept_and_none_of_them_is_looked_for() -> None:
    tokens = [{"access_token": f"secret-{n}-0123456789"} for n in range(20_000)]
    body = json.dumps({"hook": "order-sign", "more": tokens}).encode()
    record = CallRecord("1", "c", "s", "order-sign", NOW, 0.1, 422, body, b"{}", "1")
    assert without_tokens(record).request is None


@pytest.mark.threat("costly-call")
def test_a_text_that_ends_within_a_string_is_looked_at_once() -> None:
    """Without care the rest would be looked through again from every quotation mark: for hours."""
    assert values_in(b'"' + b'\\",' * 300_000) == 0
    assert values_in(b'["' + b'\\"' * 300_000 + b"\\") == 1
