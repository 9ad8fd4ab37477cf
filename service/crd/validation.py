"""Request validation by JSON Schema, compiled once for each service.

A compiled validator decides; for an invalid request jsonschema finds the places. Messages never
quote the request, whose values may be a patient's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from service.errors import MalformedRequest, RequestError
from service.field_path import written_path
from service.interpreter_lock import computes_at_length, giving_way

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

MAX_DEPTH = 64
_MOST_PROBLEMS = 20
_RESOURCE = {"$ref": "#/$defs/resource"}

_ARTICLES = {"object": "an object", "array": "a list", "string": "a string", "null": "null"}


def _load(name: str) -> dict[str, Any]:
    text = resources.files("service.crd").joinpath("schemas", name).read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def request_schema(
    hook: str, context_schema: Mapping[str, Any], asked: Iterable[str] = ()
) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one hook's call.

    `asked` are the prefetch keys of the service, which hold resources; others may hold anything.
    """
    schema = _load("hook.json")
    schema["properties"]["hook"] = {"const": hook}
    schema["properties"]["context"] = dict(context_schema)
    asked_for = {"type": ["object", "null"], "if": {"type": "object"}, "then": _RESOURCE}
    schema["properties"]["prefetch"]["properties"] = dict.fromkeys(asked, asked_for)
    return with_fhir(schema)


def with_fhir(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON Schema with the definitions of `fhir.json`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "$defs": _load("fhir.json")["$defs"],
    }


class Validator:
    """Validator of a schema, with messages for the sender."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = dict(schema)
        self._fits = jsonschema_rs.Draft202012Validator(self._schema).is_valid

    def check(self, data: object, refusal: type[RequestError] = MalformedRequest) -> None:
        """Raise a `refusal` with the places unless `data` fits the schema."""
        if not self._fits(data):
            raise self._refuse(data, refusal)

    def _refuse(self, data: object, refusal: type[RequestError]) -> RequestError:
        from jsonschema import Draft202012Validator  # imported for invalid requests only

        errors = Draft202012Validator(self._schema).iter_errors(data)
        problems: dict[tuple[str, str], None] = {}
        for error in islice(errors, _MOST_PROBLEMS):
            for leaf in error.context or [error]:
                problems[(written_path(tuple(leaf.absolute_path)), _expected(leaf))] = None
        # Both validators use one schema; if they differ, the compiled one decides.
        (place, expected), *more = problems or {("", "another structure"): None}
        return refusal(expected, place, *more)


class RequestValidator(Validator):
    """Validator of one service's calls."""

    def __init__(
        self, hook: str, context_schema: Mapping[str, Any], asked: Iterable[str] = ()
    ) -> None:
        super().__init__(request_schema(hook, context_schema, asked))


def _expected(error: ValidationError) -> str:
    words = _WORDS.get(str(error.validator))
    return words(error) if words else f"does not fit the rule {error.validator}"


def _types(error: ValidationError) -> str:
    wanted: Any = error.validator_value
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    return "expected " + " or ".join(_ARTICLES.get(n, f"a {n}") for n in names)


def _missing(error: ValidationError) -> str:
    required: Any = error.validator_value
    present: Any = error.instance
    missing = [n for n in required if n not in present]
    return "missing: " + ", ".join(missing)


_WORDS: Mapping[str, Callable[[ValidationError], str]] = {
    "type": _types,
    "required": _missing,
    "const": lambda e: f'expected "{e.validator_value}"',
    "minLength": lambda _: "must not be empty",
    "pattern": lambda _: "expected a FHIR date or dateTime, such as 2026-12-01",
}


def _resource_schema() -> dict[str, Any]:
    return {"$ref": "#/$defs/resource", "$defs": _load("fhir.json")["$defs"]}


_resource_fits = jsonschema_rs.Draft202012Validator(_resource_schema()).is_valid


def is_fhir(data: object) -> bool:
    """Whether a fetched resource is valid by the rules for resources of a call."""
    return _is_shallow(data) and _resource_fits(data)


def _depth_schema(first: int = 0) -> dict[str, Any]:
    """A schema of bounded depth: one definition for each level from the `first`, with scalars only
    below the last.
    """

    def level(n: int) -> dict[str, Any]:
        below = {"$ref": f"#/$defs/{n + 1}"}
        return {"items": below, "additionalProperties": below}

    levels: dict[str, Any] = {str(n): level(n) for n in range(first, MAX_DEPTH)}
    levels[str(MAX_DEPTH)] = {"not": {"type": ["object", "array"]}}
    return {"$ref": f"#/$defs/{first}", "$defs": levels}


_shallow = jsonschema_rs.Draft202012Validator(_depth_schema()).is_valid


@cache
def _shallow_from(level: int) -> Callable[[object], bool]:
    return jsonschema_rs.Draft202012Validator(_depth_schema(level)).is_valid


_AT_A_TIME = 64
"""Objects and lists of a costly call whose depth is checked while no other call computes."""
_LOOKED_AT = 1_000
"""Values that a costly call looks at between two ways it gives: most of them are scalars."""


def _is_shallow(data: object) -> bool:
    """Whether no value is nested deeper than MAX_DEPTH; that of a costly call is seen in steps."""
    if not computes_at_length() or not isinstance(data, dict | list):
        return _shallow(data)
    level = 0
    within: list[dict[str, Any] | list[Any]] = [data]
    while within and len(within) <= _AT_A_TIME and level < MAX_DEPTH:
        level += 1
        within = [
            value
            for one in within
            for some in giving_way(_in_parts(one.values() if isinstance(one, dict) else one))
            for value in some
            if isinstance(value, _NESTED)
        ]
    # A list of some of them is a value of the level before.
    fits = _shallow_from(level - 1)
    return all(
        fits(within[n : n + _AT_A_TIME]) for n in giving_way(range(0, len(within), _AT_A_TIME))
    )


_NESTED = (dict, list)


def _in_parts(values: Iterable[object]) -> Iterator[Sequence[object]]:
    left = iter(values)
    while some := tuple(islice(left, _LOOKED_AT)):
        yield some


def check_depth(data: object) -> None:
    """Raise MalformedRequest if values are nested deeper than MAX_DEPTH."""
    if not _is_shallow(data):
        raise MalformedRequest(f"nested deeper than {MAX_DEPTH} levels")
