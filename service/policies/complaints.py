"""Messages for validation errors of library files, for policy staff, with the fix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel, RootModel
from pydantic_core import ErrorDetails

from cards.texts.wording_fields import Write
from service.field_path import FieldPath

_KINDS = {
    "model_type": "a mapping (name: value)",
    "dict_type": "a mapping (name: value)",
    "tuple_type": "a list",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "string_type": "text",
}
_NOT_ONE_OF_THESE = ("literal_error", "enum")
_UNKNOWN = ("extra_forbidden", "invalid_key")
_KEY = "[key]"
"""Pydantic's suffix for an invalid key of a mapping."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error of a field, with its fix."""

    at: FieldPath
    problem: str
    repair: str


@dataclass(frozen=True, slots=True)
class Field:
    """A model's field: its type, and its expected content."""

    type: Any
    wanted: str | None = None


def of(error: ErrorDetails, model: type[BaseModel], data: object, written: str | None) -> Complaint:
    """The complaint on one error; `written` is the value as written in the file of `data`."""
    at = tuple(step for step in error["loc"] if step != _KEY)
    kind, value, words = error["type"], error["input"], error.get("ctx", {})
    if kind == "wrong":
        return Complaint(at, words["problem"], words["repair"])
    if kind in _UNKNOWN or _KEY in error["loc"]:
        at = (*at[:-1], str(at[-1]))
        return _unknown(at, value, _known(field_at(model, at[:-1]).type), _at(data, at[:-1]))
    if kind == "missing":
        return Complaint(at, "is missing", "add it")
    if kind == "too_short":
        return Complaint(at, "the list is empty", "add an entry")
    field = field_at(model, at)
    if kind in _NOT_ONE_OF_THESE:
        return Complaint(at, f"{value!r} is not known here", f"use one of {_choices(field.type)}")
    if kind == "tuple_type":
        return _wrong_type(at, _KINDS[kind], value, "a list: [one, another]", written)
    if kind in _KINDS:
        return _wrong_type(at, _KINDS[kind], value, field.wanted, written)
    return Complaint(at, f"{value!r} does not fit", f"write {field.wanted or error['msg']}")


def _unknown(at: FieldPath, value: object, known: Collection[str], beside: object) -> Complaint:
    name = str(at[-1])
    if not isinstance(value, str) and name in known:
        return Complaint(at, f"{name} is not quoted and not read as text", f'quote it: "{name}"')
    if (name, value) == ("indicator", "critical"):
        repair = "remove it: a card about coverage is a warning at most"
        return Complaint(at, "critical is for danger to life", repair)
    if not known:
        repair = "write lower-case letters, digits, hyphens and underscores"
        return Complaint(at, f"{name} is no name that can stand here", repair)
    open_to_all = [k for k in known if not (isinstance(beside, Mapping) and k in beside)]
    for near in get_close_matches(name, open_to_all, n=1):
        # Removing a misspelled field would lose its content.
        repair = f"is {near} meant? Known here: {', '.join(known)}"
        return Complaint(at, "unknown field", repair)
    repair = f"remove it, or indent it like its neighbors; known here: {', '.join(known)}"
    return Complaint(at, "unknown field", repair)


def _wrong_type(
    at: FieldPath, kind: str, value: object, wanted: str | None, written: str | None
) -> Complaint:
    if kind == "text" and written and isinstance(value, (bool, int, float, date)):
        return Complaint(
            at, f"{written} is not quoted and not read as text", f'quote it: "{written}"'
        )
    found = "nothing" if value is None else f"{type(value).__name__} {value!r}"
    return Complaint(at, f"expected {kind}, found {found[:60]}", f"write {wanted or kind}")


def field_at(model: type[BaseModel], where: Iterable[str | int]) -> Field:
    """The field at a place of a file of this model, as far as the path is known."""
    field = Field(model)
    for step in where:
        if isinstance(step, int):
            field = next(map(_field, _members(field.type)), field)
        else:
            inside = next((f for n, f in _fields(field.type) if n == step), None)
            field = inside or next(map(_field, _values(field.type)), Field(Any))
    return field


def _fields(type_: object) -> Iterator[tuple[str, Field]]:
    """The fields of a mapping under each of their accepted names, the present one first."""
    for model in _alternatives(type_):
        if isinstance(model, type) and issubclass(model, BaseModel):
            for name, info in model.model_fields.items():
                alias = info.validation_alias or name
                names = alias.choices if isinstance(alias, AliasChoices) else [alias]
                wanted = next((m.wanted for m in info.metadata if isinstance(m, Write)), None)
                field = _field(info.annotation)
                for n in names:
                    yield str(n), Field(field.type, wanted or field.wanted)


def _known(type_: object) -> list[str]:
    """The names of a mapping's fields, or its possible keys."""
    for model in _alternatives(type_):
        if isinstance(model, type) and issubclass(model, BaseModel):
            aliases = ((n, info.validation_alias or n) for n, info in model.model_fields.items())
            return [
                str(a.choices[0]) if isinstance(a, AliasChoices) else str(a) for _, a in aliases
            ]
    return []


def _members(type_: object) -> Iterator[Any]:
    for each in _alternatives(type_):
        if get_origin(each) is tuple:
            yield get_args(each)[0]


def _values(type_: object) -> Iterator[Any]:
    """The value type of a mapping with free keys."""
    for each in _alternatives(type_):
        if get_origin(each) is dict:
            yield get_args(each)[1]


def _alternatives(type_: object) -> Iterator[Any]:
    """The possible types of a value, without annotations."""
    origin = get_origin(type_)
    if origin is Annotated:
        yield from _alternatives(get_args(type_)[0])
    elif origin in (Union, UnionType):
        for each in get_args(type_):
            yield from _alternatives(each)
    elif isinstance(type_, type) and issubclass(type_, RootModel):
        yield from _alternatives(type_.model_fields["root"].annotation)
    elif type_ is not NoneType:
        yield type_


def _field(type_: object) -> Field:
    wanted = None
    for each in (type_, *get_args(type_)):
        if get_origin(each) is Annotated:
            said = (m.wanted for m in each.__metadata__ if isinstance(m, Write))
            wanted = wanted or next(said, None)
    return Field(type_, wanted)


def _choices(type_: object) -> str:
    """The values of an enumeration or of literals, as written."""
    found: list[str] = []
    for each in _alternatives(type_):
        if get_origin(each) is Literal:
            found += [str(v) for v in get_args(each)]
        elif isinstance(each, type) and issubclass(each, Enum):
            found += [str(v.value) for v in each]
    return ", ".join(found)


def _at(data: object, where: FieldPath) -> object:
    for step in where:
        try:
            data = data[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            return None
    return data
