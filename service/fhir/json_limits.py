"""JSON size limits: how many values a document may hold, counted before any of them is built.

A document of a megabyte can hold half a million empty lists: what it costs to build, to validate
and to walk grows with its values, not with its bytes.
"""

from __future__ import annotations

import re

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_OPENS = (b"[", b"{")
_SEPARATES = b","


def holds_more_values(body: bytes, most: int) -> bool:
    """Whether the JSON text `body` holds more than `most` values: members and elements.

    Each value but the document itself follows a comma or the opening of a list or object, so that
    these are counted; an empty list or object counts as one value more. What is no JSON is counted
    likewise and told apart by whoever reads it.
    """
    if _marks(body) <= most:
        return False
    return _marks(_STRING.sub(b"", body)) > most


def _marks(text: bytes) -> int:
    return text.count(_SEPARATES) + sum(text.count(mark) for mark in _OPENS)
