"""Lenient reader of stored JSON, for display: no input of a client makes it fail.

An unrepresentable number becomes text, a lone surrogate a question mark, and a body that is no
JSON an empty object. The reader of calls is strict.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from service.fhir.json_pieces import in_pieces

_decode = msgspec.json.Decoder().decode
_DIGITS = 18
"""Digits of an integer that fits 64 bits."""


def read_kept(body: bytes) -> Any:
    """Plain data; {} if the body cannot be read."""
    try:
        return in_pieces(body, _decode)
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
