"""JSON size limits: values of a document, counted before decoding.

A megabyte can contain half a million empty lists: the cost of decoding, validating and walking
grows with values, not with bytes.
"""

from __future__ import annotations

import re

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_OPENS = (b"[", b"{")
_SEPARATES = b","


def holds_more_values(body: bytes, most: int) -> bool:
    """Whether the JSON text `body` contains more than `most` values: members and elements.

    Counts commas and opening brackets, one of which precedes each value except the document; an
    empty list or object counts as one value more. Invalid JSON is counted too, and detected by the
    parser.
    """
    if _marks(body) <= most:
        return False
    return _marks(_STRING.sub(b"", body)) > most


def _marks(text: bytes) -> int:
    return text.count(_SEPARATES) + sum(text.count(mark) for mark in _OPENS)
