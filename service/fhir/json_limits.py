"""JSON size limits: values of a document, counted before decoding.

A megabyte can contain half a million empty lists: the cost of decoding, validating and walking
grows with values, not with bytes.
"""

from __future__ import annotations

import re

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, or the rest of a text that ends within one. It never looks at a byte twice: a text of
quotation marks alone would else take hours.
"""
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
    empty list or object counts as one value more. Invalid JSON is counted too, and detected by the
    parser.
    """
    return _marks(_STRING.sub(b"", body))


def _marks(text: bytes) -> int:
    return text.count(_SEPARATES) + sum(text.count(mark) for mark in _OPENS)
