"""JSON size limits: values of a document, counted before decoding.

A megabyte can contain half a million empty lists: the cost of decoding, validating and walking
grows with values, not with bytes.
"""

from __future__ import annotations

from service.fhir.json_pieces import PIECE_BYTES
from service.interpreter_lock import giving_way

_ESCAPED_BACKSLASH = rb"\\"
_ESCAPED_MARK = rb"\""
_MARK = b'"'
_OPENS = (b"[", b"{")
_SEPARATES = b","


def holds_more_values(body: bytes, most: int) -> bool:
    """Whether the JSON text `body` contains more than `most` values: members and elements.

    The quick count of the text as a whole, strings included, often suffices; a text of no more
    bytes needs none.
    """
    return len(body) > most and _marks(body) > most and values_in(body) > most


def values_in(body: bytes) -> int:
    """The number of values in the JSON text `body`: members and elements.

    Counts commas and opening brackets, one of which precedes each value except the document; an
    empty list or object counts as one value more. Invalid JSON is counted too, as far as the parser
    will read it. The text is looked at in pieces: between two of them other calls compute.
    """
    if b"\\" in body:
        # Without escapes each quotation mark begins or ends a string.
        body = body.replace(_ESCAPED_BACKSLASH, b"").replace(_ESCAPED_MARK, b"")
    count, within = 0, False
    for start in giving_way(range(0, len(body), PIECE_BYTES)):
        parts = body[start : start + PIECE_BYTES].split(_MARK)
        count += _marks(b"".join(parts[within::2]))
        within ^= len(parts) % 2 == 0
    return count


def _marks(text: bytes) -> int:
    return text.count(_SEPARATES) + sum(text.count(mark) for mark in _OPENS)
