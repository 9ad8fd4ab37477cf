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
from service.decision_log import stored_json, token_removal
from service.decision_log.call_record import CallRecord
from service.decision_log.token_removal import without_tokens, without_tokens_in
from service.decision_log.token_signs import has_signs
from service.fhir import document, json_pieces
from service.fhir.document import Document
from service.fhir.json_limits import values_in
from service.payer_data import numbers
from service.payer_data.numbers import name_words
from service.payer_data.port import Records, Wanted
from service.payer_data.record_cache import RecordCache
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
    "responses beside orders": lambda n: hostile._questionnaires(n, 8 * n, 4),
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
    made = reviewing(Settings())
    operations(made, KINDS["orders"](1))  # Python 3.12.1 counts no opcode the first time
    return made


@pytest.fixture(scope="module")
def ruled() -> OrderReview:
    return reviewing(hostile._examples())


def operations(review: OrderReview, call: Json) -> int:
    """The bytecodes that a review of the call takes."""
    body = json.dumps(call).encode()
    review.review(hostile.SERVICE, body)  # what is made once is made
    return bytecodes(lambda: review.review(hostile.SERVICE, body))


def bytecodes(act: Callable[[], object]) -> int:
    """The bytecodes that an act takes: between two of them another thread may compute."""
    counted = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal counted
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted += event == "opcode"
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
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
def test_under_rules_twice_as_much_costs_twice_as_much(kind: str, ruled: OrderReview) -> None:
    once, twice = (operations(ruled, UNDER_RULES[kind](n)) for n in (8, 16))
    assert twice <= MOST * once


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("part", ["a", "eyJ", "token=", "bearer ", "://", "a.", "%"])
def test_a_word_without_an_end_is_looked_through_for_tokens_once(part: str) -> None:
    """It would else be looked through again from each of its letters: for hours."""
    text = f"eyJ bearer {part * 200_000} x=1 @"
    assert "x=1" in (without_tokens_in(text) or "")


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize(
    "look",
    [
        lambda n: without_tokens_in("bearer abcdefg1 " * n),
        lambda n: has_signs(b'{"a": "' + b"\\u00e9" * n + b'"}', []),
    ],
    ids=["bearers", "escapes"],
)
def test_between_two_finds_in_a_text_other_calls_compute(look: Callable[[int], object]) -> None:
    """A search that gives all of a megabyte's at once would hold them up for 15 milliseconds."""
    look(1)
    assert bytecodes(lambda: look(5_000)) > 5_000


@pytest.mark.threat("costly-call")
def test_a_large_body_is_read_for_its_tokens_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def decode(text: bytes, of_piece: Callable[[bytes], object] = stored_json._decode) -> object:
        sizes.append(len(text))
        return of_piece(text)

    monkeypatch.setattr(stored_json, "_decode", decode)
    call = {"more": [{"a": n} for n in range(20_000)], "note": "bearer abcdefg1"}
    body = json.dumps(call).encode()
    record = CallRecord("1", "c", "s", "order-sign", NOW, 0.1, 200, body, b"{}", "1")
    assert b"abcdefg1" not in (without_tokens(record).request or b"abcdefg1")
    assert max(sizes) < 1.1 * json_pieces.PIECE_BYTES


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


@pytest.mark.threat("costly-call")
def test_names_of_a_megabyte_are_not_remembered() -> None:
    """Thousands of calls with such names would fill the memory."""
    before = token_removal._known.cache_info().currsize
    for n in range(20):
        assert token_removal._is_token_name(f"{n}" * 100_000 + "access_token")
        assert not token_removal._is_token_name(f"{n}" * 100_000)
    assert token_removal._known.cache_info().currsize == before


@pytest.mark.threat("costly-call")
def test_nothing_long_that_a_caller_writes_is_remembered() -> None:
    """Thousands of calls with a name, a key or numbers of a megabyte would fill the memory."""
    names, paths = numbers._known_words.cache_info().currsize, document._decoder_to.cache_info()
    assert name_words("Ann Example") == {"ann", "example"}
    cache = RecordCache(60)
    for n in range(20):
        long = f"{n}" * 50_000
        assert name_words(f"Ann {long}") == {"ann", long}
        body = json.dumps({long: {"entry": [{"id": "a"}]}}).encode()
        assert Document(body, json.loads(body)).raw((long, "entry", 0)) == b'{"id": "a"}'
        wanted = Wanted("payer", frozenset({long}), NOW.date())
        cache.put(wanted, Records())
        assert cache.get(wanted) is None
    assert numbers._known_words.cache_info().currsize <= names + 1
    assert document._decoder_to.cache_info().currsize == paths.currsize
    usual = Wanted("payer", frozenset({"M1"}), NOW.date())
    cache.put(usual, Records())
    assert cache.get(usual) == Records()
