"""Large JSON is parsed in pieces, and means what it means as a whole."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import jiter
import pytest

from service.crd.hook_request import parse_json
from service.errors import MalformedRequest
from service.fhir import json_limits, json_pieces
from service.fhir.json_pieces import PIECE_BYTES, JsonFault, in_pieces
from tests.bench import hostile_bodies as hostile
from tests.conftest import FIXTURES, fixture_text_today


class Parser:
    """The parser of calls, which keeps the sizes of what it was given."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, text: bytes) -> Any:
        self.sizes.append(len(text))
        return jiter.from_json(text, allow_inf_nan=False, catch_duplicate_keys=True)


@pytest.fixture
def parser() -> Parser:
    return Parser()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_pieces, "PIECE_BYTES", 12)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, also in types and in the order of members."""
    return repr(one) == repr(other)


@pytest.mark.threat("costly-call")
def test_no_piece_of_a_large_call_holds_up_other_calls_for_long(parser: Parser) -> None:
    body = json.dumps(hostile._questionnaires(100, 880, 10), indent=1).encode()
    assert len(body) > 20 * PIECE_BYTES
    assert same(in_pieces(body, parser), json.loads(body))
    # Brackets and commas come to the sum of the parts.
    assert max(parser.sizes) < 1.1 * PIECE_BYTES


MANY = b"[" + b",".join(b'{"k%d":%d}' % (n, n) for n in range(20_000)) + b"]"
MEMBERS = b",".join(b'"name-%d":1' % n for n in range(20_000))
COSTLY = {
    "below many levels": b'{"a":' * 9 + MANY + b"}" * 9,
    "below many arrays": b"[" * 60 + MANY + b"]" * 60,
    "beside a name with escapes": b'{"a":' + MANY + b',"\\u0062":1}',
    "in one object": b"{" + MEMBERS + b"}",
}
FAULTY = {
    "broken": MANY[:-1],
    "a key twice": b'{"a":' + MANY + b',"b":{"c":1,"c":2}}',
    "a key twice, far apart": b"{" + MEMBERS + b',"name-1":2}',
    "a key twice, with escapes": b"{" + MEMBERS + b',"\\u006eame-1":2}',
    "no UTF-8": b'{"a":' + MANY + b',"b":"\xff"}',
    "no UTF-8 in a name": b'{"\xff":' + MANY + b',"b":1}',
    "a number too long": b'{"a":' + MANY + b',"b":' + b"1" * 5_000 + b"}",
    "too deep": b'{"a":' + MANY + b',"b":' + b"[" * 250 + b"]" * 250 + b"}",
    "too deep around it": b"[" * 250 + MANY + b"]" * 250,
    "far too deep": b"[" * 20_000 + MANY + b"]" * 20_000,
}


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("shape", COSTLY)
def test_whatever_its_shape_no_piece_is_large(shape: str, parser: Parser) -> None:
    text = COSTLY[shape]
    assert same(in_pieces(text, parser), json.loads(text))
    assert max(parser.sizes) < 1.1 * PIECE_BYTES


@pytest.mark.threat("costly-call")
def test_what_lies_deep_takes_no_more_memory(parser: Parser) -> None:
    """A copy of the rest for each level would be two hundred times the text."""

    def peak(text: bytes) -> int:
        tracemalloc.start()
        try:
            in_pieces(text, parser)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(b"[" * 180 + MANY + b"]" * 180) < peak(MANY) + 10 * len(MANY)


@pytest.mark.threat("costly-call")
@pytest.mark.parametrize("fault", FAULTY)
def test_what_is_wrong_is_found_without_parsing_the_whole(fault: str, parser: Parser) -> None:
    with pytest.raises(JsonFault):
        in_pieces(FAULTY[fault], parser)
    assert max(parser.sizes, default=0) < 1.1 * PIECE_BYTES


@pytest.mark.threat("costly-call")
def test_strings_are_told_from_values_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def marks(text: bytes, count: Callable[[bytes], int] = json_limits._marks) -> int:
        sizes.append(len(text))
        return count(text)

    monkeypatch.setattr(json_limits, "_marks", marks)
    body = json.dumps([{"a": 'b",['}] * 50_000, indent=1).encode()
    assert json_limits.values_in(body) == 100_000
    assert max(sizes) <= PIECE_BYTES


def test_a_small_call_is_parsed_at_once(parser: Parser) -> None:
    body = b" " * (PIECE_BYTES - 2) + b"{}"
    assert in_pieces(body, parser) == {}
    assert parser.sizes == [PIECE_BYTES]


TEXTS = [
    '{"a": 1, "bcdefghijklmnop": [1, 2.50, "xxxxxxxxxxxxxxx", {"y": [[[[[[[[[1]]]]]]]]]}], "c": 1}',
    '[{"a": -0, "b": 1e3, "c": 1E-2, "d": 123456789012345678901234567890}, [], {}, "", null, true]',
    '{"z": {"\\u00e9": "\\ud83d\\ude00 \\"quoted\\", [1, 2] {3: 4}"}, "a": "é", "": {"": ""}}',
    '"a string of more than a piece, with \\n and , and ]"',
    "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]",
    '{"\\u0061bcdefgh": 1, "b": "xxxxxxxxxxx"}',
    '  \n{"a"  :\t[ 1 ,  2 ] , "bbbbbbbbbbbbb" : { } }  ',
]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("text", TEXTS)
def test_what_is_parsed_in_pieces_is_what_is_parsed_whole(text: str, parser: Parser) -> None:
    assert same(in_pieces(text.encode(), parser), parser(text.encode()))


def fixtures() -> Iterator[str]:
    for file in sorted(FIXTURES.glob("order-*/*.json")):
        yield file.relative_to(FIXTURES).as_posix()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", list(fixtures()))
def test_calls_are_the_same_in_pieces(name: str, parser: Parser) -> None:
    body = fixture_text_today(FIXTURES / name).encode()
    assert same(in_pieces(body, parser), parser(body))


WRONG = [
    '{"a": 1, "bbbbbbbbbbbbbbb": 2, "a": 3}',
    '{"o": {"in": 1, "bbbbbbbbbbbbbbb": 2, "in": 3}}',
    '{"o": [{"in": 1, "bbbbbbbbbbbbbbb": 2}, {"x": 1, "x": 2}]}',
    '{"a": 1, "\\u0061": 2, "bbbbbbbbbbbb": 3}',
    '{"a": NaN, "bbbbbbbbbbbbbbbb": 1}',
    '{"a": [1, 2, 3, 4, 5, 6, 7, 8}',
    '{"a": 1, "bbbbbbbbbbbbbb": 1} {}',
    '{"a": "\\ud800", "bbbbbbbbbbbbb": 1}',
    '["aaaaaaaaaaaaaaaaaaa", 01]',
    '\n {"a" : [1, 2, 3, 4, 5, 6],\n\n  "b" : {"c" : 1, "ccccccccc" : [1], "c" : 2}\n}',
    '\n ["aaaaaaaaaaaaaaa",\n {"a" : NaN} ]',
    '\n ["aaaaaaaaaaaaaaa",\n  1, 2' + ", 3" * 1_500,
    '["é é é é",\n "bbbbbbbbbbbbbb" , ' + "1" * 5_000 + " ]",
    '{"aaaaaaaaaaaaaaaaa": 1, "b": "\\ud800"}',
    "[" * 50_000,
]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_refused_with_the_place_in_the_whole(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MalformedRequest) as in_parts:
        parse_json(text.encode())
    monkeypatch.setattr(json_pieces, "PIECE_BYTES", 1_000_000)
    with pytest.raises(MalformedRequest) as whole:
        parse_json(text.encode())
    assert in_parts.value.operation_outcome() == whole.value.operation_outcome()
