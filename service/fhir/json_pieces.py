"""JSON of many bytes, parsed in pieces: between two of them other calls compute.

A parser in C holds the interpreter's lock until it is done: 15 milliseconds for 700 KB of small
values, 60 for an object of 100,000 members. The members and elements of large objects and arrays
are told apart first, which takes one millisecond or two, and parsed some at a time. What is wrong
is told by its place in the whole, and no text is parsed twice for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import msgspec

from service.interpreter_lock import giving_way

PIECE_BYTES = 32_768
_MOST_LEVELS = 200
"""Levels of large values in one another: the parser reads no more either."""

_whole = msgspec.json.Decoder(msgspec.Raw).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_AS_ARRAYS = bytes.maketrans(b"{}:", b"[],")
"""Makes an object an array of names and values, each as long as it was."""

_BYTE = re.compile(r"(?:JSON is malformed: )?(.+) \(byte (\d+)\)")
_LINE_AND_COLUMN = re.compile(r"(.+) at line (\d+) column (\d+)", re.DOTALL)
_HALF_A_PAIR = re.compile(rb'\\u[dD][89a-fA-F][0-9a-fA-F]{2}"')
"""At the end of a text, where the reader looks for more of it."""
_TOKENS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s"]++')
"""Texts without whitespace between them."""

Parse = Callable[[bytes], Any]
_Part = tuple[int, int, int]
"""A member or element: where it begins, where its value does, and where it ends."""


class JsonFault(ValueError):
    """A fault of a JSON text; `offset` is its byte, None where that is not known."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset

    def place_in(self, text: bytes) -> str:
        """The message with line and column, in bytes, of the whole `text`."""
        if self.offset is None:
            return self.message
        line = text.count(b"\n", 0, self.offset) + 1
        column = self.offset - text.rfind(b"\n", 0, self.offset)
        return f"{self.message} at line {line} column {column}"


def in_pieces(text: bytes, parse: Parse) -> Any:
    """The value of a JSON text as `parse` gives it, each piece by itself.

    Raises JsonFault where anything is wrong. `parse` raises ValueError with line and column.
    """
    if len(text) <= PIECE_BYTES:
        return _parsed(text, 0, parse)
    try:
        compact = msgspec.json.format(text, indent=-1)
    except (ValueError, RecursionError):
        raise _malformed(text) or JsonFault("not well-formed") from None
    try:
        return _read(compact, (0, 0, len(compact)), parse, _MOST_LEVELS)
    except JsonFault as fault:
        if fault.offset is None or len(compact) == len(text):
            raise
        raise JsonFault(fault.message, _offset_with_whitespace(text, fault.offset)) from None


def _parsed(text: bytes, at: int, parse: Parse, ahead: int = 0) -> Any:
    """The value of a piece that begins `at` a byte of the whole, after so many that were put ahead
    of it.
    """
    try:
        return parse(text)
    except ValueError as error:
        fault = _malformed(text) or _told(text, str(error))
        if fault.offset is not None:
            fault.offset += at - ahead
        raise fault from None


def _malformed(text: bytes) -> JsonFault | None:
    """The fault that makes a text no JSON at all, by a reader that makes no values of it."""
    try:
        _whole(text)
    except RecursionError:
        return JsonFault("nested too deeply")
    except UnicodeError:
        return None
    except msgspec.DecodeError as error:
        found = _BYTE.fullmatch(str(error))
        if found:
            return JsonFault(found[1], int(found[2]))
        half = _HALF_A_PAIR.search(text, len(text) - 12)
        return (
            JsonFault("half a surrogate pair", half.start())
            if half
            else JsonFault("cut off", len(text))
        )
    return None


def _told(text: bytes, message: str) -> JsonFault:
    """The parser's own message, whose place is by line and column."""
    found = _LINE_AND_COLUMN.fullmatch(message)
    if found is None:
        return JsonFault(message)
    begin = 0
    for _ in range(int(found[2]) - 1):
        begin = text.index(b"\n", begin) + 1
    return JsonFault(found[1], begin + int(found[3]) - 1)


def _read(text: bytes, part: _Part, parse: Parse, levels: int) -> Any:
    """The value of a part of a text without whitespace.

    No copy of a large value is kept while those within it are read: they may be deep.
    """
    _, at, until = part
    opening = text[at : at + 1]
    if until - at <= PIECE_BYTES or opening not in (b"{", b"["):
        return _parsed(text[at:until], at, parse)
    if not levels:
        raise JsonFault("nested too deeply", at)
    is_object = opening == b"{"
    found: Any = {} if is_object else []
    parts = _members(text[at:until], at) if is_object else _items(text[at:until], at)
    for piece in giving_way(_pieces(parts)):
        (begin, value, _), (_, _, end) = piece[0], piece[-1]
        if end - begin > PIECE_BYTES:
            some: Any = [_read(text, piece[0], parse, levels - 1)]
            if is_object:
                some = {_parsed(text[begin : value - 1], begin, parse): some[0]}
        else:
            closing = text[until - 1 : until]
            some = _parsed(b"%b%b%b" % (opening, text[begin:end], closing), begin, parse, 1)
        if not is_object:
            found.extend(some)
            continue
        members = len(found) + len(some)
        found.update(some)
        if len(found) != members:
            raise JsonFault("Detected duplicate key", _second(text, parts, parse))
    return found


def _items(array: bytes, at: int) -> Sequence[_Part]:
    """The elements of an array that begins `at` a byte of the whole."""
    return [(begin, begin, end) for begin, end in _spans(array, at)]


def _members(written: bytes, at: int) -> Sequence[_Part]:
    """The same of an object."""
    # Names are every other part; nothing is kept by name here, for a name may come twice.
    spans = iter(_spans(written.translate(_AS_ARRAYS), at))
    return [(name, value, end) for (name, _), (value, end) in zip(spans, spans, strict=True)]


def _spans(array: bytes, at: int) -> Iterator[tuple[int, int]]:
    """The begin and end of each element of an array without whitespace."""
    begin = at + 1
    for element in giving_way(_elements(array)):
        end = begin + len(element)
        yield begin, end
        begin = end + 1


def _pieces(parts: Sequence[_Part]) -> Iterator[Sequence[_Part]]:
    """The parts in their order: small ones together, a large one by itself."""
    first = 0
    for n, ((begin, _, end), (_, _, next_end)) in enumerate(pairwise(parts), 1):
        whole = next_end - parts[first][0]
        if whole > PIECE_BYTES or end - begin > PIECE_BYTES:
            yield parts[first:n]
            first = n
    if first < len(parts):
        yield parts[first:]


def _second(text: bytes, members: Sequence[_Part], parse: Parse) -> int:
    """The begin of the value of the first member whose name has come before."""
    names: set[str] = set()
    for begin, value, _ in members:
        name = parse(text[begin : value - 1])
        if name in names:
            return value
        names.add(name)
    return len(text)


def _offset_with_whitespace(text: bytes, offset: int) -> int:
    """The offset in a text of a byte that has this one in the same text without whitespace."""
    passed = 0
    for token in _TOKENS.finditer(text):
        length = token.end() - token.start()
        if passed + length >= offset:
            return token.start() + offset - passed
        passed += length
    return len(text)
