"""What a schema's refusal means to the person who wrote the file, and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any

from jsonschema.exceptions import ValidationError

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_KINDS = {
    "object": "a mapping (name: value)",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """`at` names the field inside the refused mapping, where it is one of its fields."""

    problem: str
    repair: str
    at: str | None = None


def of(error: ValidationError, written: str | None) -> Iterator[Complaint]:
    """The complaints in one schema error; `written` is the value as it stands in the file."""
    kind = str(error.validator)
    if kind == "additionalProperties":
        yield from _unknown(error)
    elif kind == "required":
        yield from _missing(error)
    elif kind == "type":
        yield _wrong_type(error, written)
    elif kind == "oneOf":
        yield _one_of(error)
    elif kind == "enum":
        allowed = ", ".join(map(str, _list(error.validator_value)))
        yield Complaint(f"{error.instance!r} is not known here", f"use one of {allowed}")
    elif kind in ("minItems", "uniqueItems"):
        few = kind == "minItems"
        problem = "the list is empty" if few else "the list names something twice"
        yield Complaint(problem, "add an entry" if few else "leave one of the two")
    elif _DAY.fullmatch(str(error.instance)) and "YYYY-MM-DD" in (_description(error) or ""):
        yield Complaint(f"there is no day {error.instance}", "write a day of the calendar")
    else:
        wanted = _description(error) or f"something that fits {kind}: {error.validator_value}"
        yield Complaint(f"{error.instance!r} does not fit", f"write {wanted}")


def _unknown(error: ValidationError) -> Iterator[Complaint]:
    known: dict[str, Any] = _schema(error).get("properties", {})
    fields: dict[str, Any] = error.instance if isinstance(error.instance, dict) else {}
    for name, value in fields.items():
        if (name, value) == ("indicator", "critical"):
            repair = "remove it: a card about coverage is a warning at most"
            yield Complaint("critical is for danger to life", repair, name)
        elif name not in known:
            yield Complaint("unknown field", _meant(str(name), known, fields), str(name))


def _meant(name: str, known: Collection[str], written: Collection[str]) -> str:
    """How to mend an unknown field; whoever removes a misspelt one would lose what it holds."""
    open_to_all = [k for k in known if k not in written]
    for near in get_close_matches(name, open_to_all, n=1):
        return f"is {near} meant? Known here: {', '.join(known)}"
    return f"remove it, or indent it like its neighbours; known here: {', '.join(known)}"


def _missing(error: ValidationError) -> Iterator[Complaint]:
    # One error comes for each missing field; its message begins with the field's name.
    name = error.message.split("'")[1]
    yield Complaint("is missing", "add it", name)


def _wrong_type(error: ValidationError, written: str | None) -> Complaint:
    wanted = [str(w) for w in _list(error.validator_value)]
    value = error.instance
    if "string" in wanted and written and isinstance(value, (bool, int, float, date)):
        return Complaint(f"{written} is not quoted and not read as text", f'quote it: "{written}"')
    kinds = " or ".join(_KINDS.get(w, w) for w in wanted)
    found = "nothing" if value is None else f"{type(value).__name__} {value!r}"
    wanted_here = (error.absolute_path and _description(error)) or kinds
    return Complaint(f"expected {kinds}, found {found[:60]}", f"write {wanted_here}")


def _one_of(error: ValidationError) -> Complaint:
    choices = [c["required"][0] for c in _list(error.validator_value) if c.get("required")]
    return Complaint("needs exactly one of " + " and ".join(choices), "keep or add one of them")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _schema(error: ValidationError) -> dict[str, Any]:
    return error.schema if isinstance(error.schema, dict) else {}


def _description(error: ValidationError) -> str | None:
    described: str | None = _schema(error).get("description")
    return described
