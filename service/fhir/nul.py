"""NUL characters in JSON: valid there, but in no FHIR string, and refused by PostgreSQL.

SQLite would keep them: what a client is answered must not differ with the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from service.field_path import FieldPath, written_path

_NUL = "\0"
_ESCAPED = rb"\u0000"
_MOST_PLACES = 20
_IN_A_NAME = "expected names of members without the NUL character"
_IN_A_TEXT = "expected a text without the NUL character"

_Steps: TypeAlias = "tuple[_Steps, str | int] | None"
"""A path by its last step and those before, None for the root: a walk makes no copies of it."""


def places_of_nul(data: object, body: bytes) -> Sequence[tuple[str, str]]:
    """(place, expected) of the first texts and names with NUL; a name by the object that has it.

    `body` is the JSON text that `data` was read from.
    """
    # From the end, for speed: CPython looks for bytes from there in a third of the time.
    return list(islice(_found(data), _MOST_PLACES)) if body.rfind(_ESCAPED) >= 0 else ()


def _found(data: object) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[_Steps, object]] = [(None, data)]
    while waiting:
        steps, value = waiting.pop()
        if isinstance(value, str):
            if _NUL in value:
                yield written_path(_path(steps)), _IN_A_TEXT
        elif isinstance(value, list):
            waiting.extend(((steps, n), each) for n, each in enumerate(value))
        elif isinstance(value, dict):
            if any(_NUL in name for name in value):
                yield written_path(_path(steps)), _IN_A_NAME
            waiting.extend(((steps, name), v) for name, v in value.items() if _NUL not in name)


def _path(steps: _Steps) -> FieldPath:
    path: list[str | int] = []
    while steps is not None:
        steps, step = steps
        path.append(step)
    return tuple(reversed(path))
