"""Lint rule on a policy's questionnaires: FHIR R4's base profile of Questionnaire.

Elements, types and cardinalities are those of the model classes of FHIR, and so are the codes of
required bindings; the invariants that the classes leave out stand below, by their keys. R4B, which
the classes are of, has the same Questionnaire.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from service.errors import Finding
from service.field_path import FieldPath
from service.policies import files
from service.policies.folder import LibraryFolder

Json = Mapping[str, Any]


def questionnaires_fit_the_base_profile(folder: LibraryFolder) -> Iterator[Finding]:
    for own in folder.questionnaires.values():
        for file in own.values():
            for at, problem, repair, warning in _wrong(file.resource):
                yield files.finding(file.path, at, problem, repair, warning=warning)


class _Wrong(NamedTuple):
    at: FieldPath
    problem: str
    repair: str
    warning: bool = False


def _wrong(resource: Json) -> Iterator[_Wrong]:
    # Here, for it takes most of a second: only lint needs the classes.
    from fhir.resources.R4B.questionnaire import Questionnaire

    yield from _emptiness(resource, ())
    try:
        read = Questionnaire.model_validate(resource)
    except ValidationError as error:
        for each in error.errors(include_url=False):
            at = tuple(each["loc"])
            yield _Wrong(at, *_in_words(each["type"], each["msg"]))
        return
    yield from _of_other_types(resource, read.model_dump(mode="json", by_alias=True), ())
    yield from _codes(read, ())
    yield from _subjects(resource)
    yield from _invariants(resource)


def _in_words(kind: str, message: str) -> tuple[str, str]:
    """A message of the model classes for policy staff, with the repair."""
    if kind == "extra_forbidden":
        return "is no element of a Questionnaire", "remove it, or fix its name"
    if kind.endswith("missing"):
        return "is missing", "add it"
    if kind == "list_type":
        return "is no list", "write it in square brackets"
    told = message.removeprefix("Value error, ").rstrip(".")
    return f"{told[:1].lower()}{told[1:]}", "write it as FHIR R4's Questionnaire does"


def _emptiness(value: object, at: FieldPath) -> Iterator[_Wrong]:
    """ele-1: an element has a value or children; null stands beside an extension only."""
    if value in ({}, [], ""):
        yield _Wrong(at, "is empty (ele-1)", "fill it in, or remove it")
    elif isinstance(value, Mapping):
        for name, each in value.items():
            if each is None:
                yield _Wrong((*at, name), "is null", "fill it in, or remove it")
            yield from _emptiness(each, (*at, name))
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from _emptiness(each, (*at, i))


def _of_other_types(written: object, read: object, at: FieldPath) -> Iterator[_Wrong]:
    """Values that the classes took for something else than is written: "true", or 1 for true."""
    if isinstance(written, Mapping) and isinstance(read, Mapping):
        for name in written.keys() & read.keys():
            yield from _of_other_types(written[name], read[name], (*at, name))
    elif isinstance(written, list) and isinstance(read, list):
        for i, (one, other) in enumerate(zip(written, read, strict=False)):
            yield from _of_other_types(one, other, (*at, i))
    elif isinstance(read, bool) is not isinstance(written, bool):
        yield _Wrong(at, f"{written!r} is neither true nor false", "write it without quotes")
    elif isinstance(read, int | float) and isinstance(written, str):
        yield _Wrong(at, f"{written!r} is no number", "write it without quotes")


def _codes(model: BaseModel, at: FieldPath) -> Iterator[_Wrong]:
    """Required bindings: the code is one of the value set's."""
    for name, field in type(model).model_fields.items():
        value, place = getattr(model, name), (*at, field.alias or name)
        extra = field.json_schema_extra
        allowed = extra.get("enum_values") if isinstance(extra, Mapping) else None
        # Such a list is the beginning of one (extensible), and item.type is looked at in reading.
        closed = isinstance(allowed, list) and not _AND_OTHERS & set(allowed)
        if isinstance(allowed, list) and closed and isinstance(value, str) and value not in allowed:
            repair = f"use one of {', '.join(map(str, allowed))}"
            yield _Wrong(place, f"{value} is no such code", repair)
        elif isinstance(value, BaseModel):
            yield from _codes(value, place)
        elif isinstance(value, list):
            for i, each in enumerate(value):
                if isinstance(each, BaseModel):
                    yield from _codes(each, (*place, i))


def _subjects(resource: Json) -> Iterator[_Wrong]:
    for i, kind in enumerate(resource.get("subjectType") or ()):
        if not _is_resource(kind):
            repair = "name a FHIR resource, such as Patient"
            yield _Wrong(("subjectType", i), f"{kind} is no type of resource", repair)


_AND_OTHERS = frozenset(("+", "etc."))


@cache
def _is_resource(kind: str) -> bool:
    from fhir.resources.R4B import get_fhir_model_class
    from fhir.resources.R4B.resource import Resource

    try:
        return issubclass(get_fhir_model_class(kind), Resource)
    except (ValueError, KeyError, ModuleNotFoundError):
        return False


def _invariants(resource: Json) -> Iterator[_Wrong]:
    name = resource.get("name")
    if isinstance(name, str) and not _NAME.fullmatch(name):
        repair = "write a capital letter, then letters, digits and underscores"
        yield _Wrong(("name",), "is no name for programs (que-0)", repair, warning=True)
    yield from _contained(resource)
    yield from _extensions(resource, ())
    items = list(_items(resource, ()))
    asked = {item.get("linkId") for _, item in items}
    for at, item in items:
        for rule in _OF_ITEMS:
            if rule.broken(item):
                yield _Wrong(at, f"{rule.problem} ({rule.key})", rule.repair)
        for i, condition in enumerate(item.get("enableWhen") or ()):
            place = (*at, "enableWhen", i)
            if condition.get("operator") == "exists" and "answerBoolean" not in condition:
                repair = "write answerBoolean: true or false"
                yield _Wrong(place, "exists is held against no true or false (que-7)", repair)
            if condition.get("question") not in asked:
                problem = f"no item has the linkId {condition.get('question')}"
                yield _Wrong((*place, "question"), problem, "name an item of this form")


def _items(holder: Json, at: FieldPath) -> Iterator[tuple[FieldPath, Json]]:
    for i, item in enumerate(holder.get("item") or ()):
        place = (*at, "item", i)
        yield place, item
        yield from _items(item, place)


def _contained(resource: Json) -> Iterator[_Wrong]:
    """dom-2 to dom-5: what is contained stands for something here, and for nothing elsewhere."""
    mentioned = set(_texts({k: v for k, v in resource.items() if k != "contained"}))
    for i, inner in enumerate(resource.get("contained") or ()):
        at = ("contained", i)
        if inner.get("contained"):
            yield _Wrong(at, "contains a resource of its own (dom-2)", "move it out")
        if f"#{inner.get('id')}" not in mentioned and "#" not in set(_texts(inner)):
            yield _Wrong(at, "nothing refers to it (dom-3)", "refer to it, or remove it")
        meta = inner.get("meta") or {}
        if "versionId" in meta or "lastUpdated" in meta:
            yield _Wrong((*at, "meta"), "has a version of its own (dom-4)", "remove it")
        if "security" in meta:
            yield _Wrong((*at, "meta"), "has a security label (dom-5)", "remove it")


def _extensions(value: object, at: FieldPath) -> Iterator[_Wrong]:
    """ext-1: an extension has a value or extensions, one of the two."""
    if isinstance(value, list):
        for i, each in enumerate(value):
            yield from _extensions(each, (*at, i))
    if not isinstance(value, Mapping):
        return
    for name, each in value.items():
        if name in ("extension", "modifierExtension") and isinstance(each, list):
            for i, extension in enumerate(each):
                has_value = any(k.startswith("value") for k in extension)
                if has_value is bool(extension.get("extension")):
                    problem = "needs exactly one of a value and extensions (ext-1)"
                    yield _Wrong((*at, name, i), problem, "keep or add one of them")
        yield from _extensions(each, (*at, name))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


_NAME = re.compile(r"[A-Z][A-Za-z0-9_]{0,254}")


class _Invariant(NamedTuple):
    key: str
    broken: Callable[[Json], bool]
    problem: str
    repair: str


def _has(item: Json, *names: str) -> bool:
    return any(name in item for name in names)


def _is(item: Json, *kinds: str) -> bool:
    return item.get("type") in kinds


def _count(values: Iterable[object] | None) -> int:
    return len(list(values or ()))


_OF_ITEMS = (
    _Invariant(
        "que-3",
        lambda item: _is(item, "display") and _has(item, "code"),
        "a display has a code",
        "remove code",
    ),
    _Invariant(
        "que-4",
        lambda item: _has(item, "answerOption") and _has(item, "answerValueSet"),
        "has both answerOption and answerValueSet",
        "leave one of the two",
    ),
    _Invariant(
        "que-5",
        lambda item: (
            _has(item, "answerOption", "answerValueSet")
            and not _is(
                item,
                *("choice", "open-choice", "decimal", "integer", "date", "dateTime", "time"),
                *("string", "quantity"),
            )
        ),
        "its type of answer has no options",
        "remove answerOption and answerValueSet, or make it a choice",
    ),
    _Invariant(
        "que-6",
        lambda item: _is(item, "display") and _has(item, "required", "repeats"),
        "a display is required or repeats",
        "remove required and repeats",
    ),
    _Invariant(
        "que-8",
        lambda item: _is(item, "group", "display") and _has(item, "initial"),
        "a group or display has an initial value",
        "remove initial",
    ),
    _Invariant(
        "que-9",
        lambda item: _is(item, "display") and _has(item, "readOnly"),
        "a display is read-only",
        "remove readOnly",
    ),
    _Invariant(
        "que-10",
        lambda item: (
            _has(item, "maxLength")
            and not _is(
                item, "boolean", "decimal", "integer", "string", "text", "url", "open-choice"
            )
        ),
        "its type of answer has no length",
        "remove maxLength",
    ),
    _Invariant(
        "que-11",
        lambda item: _has(item, "answerOption") and _has(item, "initial"),
        "has both answerOption and initial",
        "mark the option by initialSelected, and remove initial",
    ),
    _Invariant(
        "que-12",
        lambda item: _count(item.get("enableWhen")) > 1 and not _has(item, "enableBehavior"),
        "has several enableWhen without enableBehavior",
        "write enableBehavior: all or any",
    ),
    _Invariant(
        "que-13",
        lambda item: _count(item.get("initial")) > 1 and item.get("repeats") is not True,
        "has several initial values and does not repeat",
        "leave one of them, or write repeats: true",
    ),
)
"""Invariants of Questionnaire.item, where que-1 and que-2 are looked at when the file is read."""
