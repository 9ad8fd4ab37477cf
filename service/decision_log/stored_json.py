"""JSON as it was kept, read for people who look: nothing that a client sent may keep it from them.

What decides calls is stricter; here a number that no machine holds becomes text, half of a
character becomes a question mark, and what is no JSON at all becomes an empty object.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

_DIGITS = 18
"""Of a whole number that fits everywhere."""


def read_kept(body: bytes) -> Any:
    """Plain data; {} where it cannot be read."""
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        pass
    try:
        text = body.decode("utf-8", "replace")
        return _clean(json.loads(text, parse_int=_whole, parse_float=_number, parse_constant=str))
    except (ValueError, RecursionError):
        return {}


def _whole(written: str) -> int | str:
    return int(written) if len(written) <= _DIGITS else written


def _number(written: str) -> float | str:
    value = float(written)
    return value if math.isfinite(value) else written


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {_clean(name): _clean(each) for name, each in value.items()}
    return value
