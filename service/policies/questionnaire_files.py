"""A policy's own forms with their libraries: <policy>/questionnaires/<id>.json, FHIR R4."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from service.errors import Finding
from service.field_path import FieldPath
from service.policies import files

QUESTIONNAIRES = "questionnaires"
LIBRARIES = "libraries"
"""Folder of the CQL libraries, beside the questionnaires."""

MOST_LEVELS = 200
"""Levels of a JSON file of the library: questions within questions take two each."""

_NEEDED = ("id", "version", "title", "status", "date", "item")


@dataclass(frozen=True, slots=True)
class QuestionnaireFile:
    """A questionnaire as it stands in its file; `resource` must not be changed."""

    path: Path
    resource: Mapping[str, Any]

    def link_ids(self) -> Iterator[str]:
        """Every item's linkId."""
        yield from (link_id for link_id, _ in self.item_types())

    def item_types(self) -> Iterator[tuple[str, str]]:
        """Every item's linkId with its type."""
        pending: list[Any] = list(self.resource["item"])
        for item in pending:
            yield str(item.get("linkId")), str(item.get("type"))
            pending.extend(item.get("item") or ())

    def finding(self, problem: str, repair: str) -> Finding:
        return Finding(self.path, "(file)", problem, repair)


def read_questionnaires(policy: Path, findings: list[Finding]) -> Mapping[str, QuestionnaireFile]:
    """Those in a policy's folder, by id; what does not fit is added to `findings`."""
    found: dict[str, QuestionnaireFile] = {}
    place = policy / QUESTIONNAIRES
    for path in sorted(place.glob("*.json")) if place.is_dir() else ():
        try:
            resource = read_json(path)
        except (ValueError, RecursionError) as error:
            findings.append(not_json(path, error))
            continue
        wrong = list(_wrong(path, resource))
        findings.extend(files.finding(path, *each) for each in wrong)
        if not wrong:
            found[path.stem] = QuestionnaireFile(path, resource)
    return found


def read_json(path: Path) -> Any:
    """The content of a JSON file of the library.

    Raises ValueError where it is none, and RecursionError where it is nested deeper than
    `MOST_LEVELS`: some versions of Python read far deeper than anything here walks.
    """
    content = json.loads(path.read_text("utf-8"))
    level = [content]
    for _ in range(MOST_LEVELS):
        level = [below for each in level for below in _below(each)]
        if not level:
            return content
    raise RecursionError


def _below(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def not_json(path: Path, error: ValueError | RecursionError) -> Finding:
    """The finding on a file that is no JSON, with its line."""
    if isinstance(error, UnicodeDecodeError):
        return Finding(path, "(file)", "is not UTF-8", "save it as UTF-8")
    if isinstance(error, RecursionError):
        return Finding(path, "(file)", "is nested too deeply", "write it flatter")
    line = error.lineno if isinstance(error, json.JSONDecodeError) else None
    said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
    repair = "fix the comma, quote or bracket there"
    return Finding(path, "(file)", f"is not JSON: {said[:1].lower()}{said[1:]}", repair, line)


_Wrong = tuple[FieldPath, str, str]


def _wrong(path: Path, resource: object) -> Iterator[_Wrong]:
    if not isinstance(resource, dict) or resource.get("resourceType") != "Questionnaire":
        yield ("resourceType",), "is no Questionnaire", "write a FHIR R4 Questionnaire"
        return
    for name in _NEEDED:
        if not resource.get(name):
            yield (name,), "is missing", "add it"
        elif name != "item" and not isinstance(resource[name], str):
            yield (name,), "is no text", "write it in quotes"
    day = resource.get("date")
    if isinstance(day, str) and day and not _is_time(day):
        yield ("date",), f"{day} is no day", "write it as 2026-01-31"
    if resource.get("id") != path.stem:
        yield ("id",), f"{resource.get('id')} lies in {path.name}", "give both the same name"
    if "url" in resource:
        yield ("url",), "is written here", "remove it: the service gives each form its canonical"
    yield from _items(resource.get("item"), ("item",), set())


def _is_time(written: str) -> bool:
    """Whether the service can read it as the day of the form's last change."""
    try:
        datetime.fromisoformat(written)
    except ValueError:
        return False
    return True


def _items(items: object, at: FieldPath, seen: set[str]) -> Iterator[_Wrong]:
    """Rules of items that the service itself reads, with que-1 and que-2 of the base profile."""
    if items is None:
        return
    if not isinstance(items, Sequence) or isinstance(items, str):
        yield at, "is no list", "write a list of items"
        return
    for i, item in enumerate(items):
        place = (*at, i)
        if not isinstance(item, Mapping):
            yield place, "is no item", "write an item"
            continue
        link_id, kind = item.get("linkId"), item.get("type")
        if not isinstance(link_id, str) or not link_id:
            yield (*place, "linkId"), "is missing", "add it"
        elif link_id in seen:
            yield (*place, "linkId"), f"{link_id} stands twice (que-2)", "give each item its own"
        else:
            seen.add(link_id)
        if kind not in _TYPES:
            repair = f"use one of {', '.join(_TYPES)}"
            yield (*place, "type"), f"{kind} is no type of item", repair
        if kind == "group" and not item.get("item"):
            yield place, "is a group without items (que-1)", "add an item, or make it display"
        if kind == "display" and item.get("item"):
            yield place, "is a display with items (que-1)", "make it a group"
        if not item.get("text"):
            yield (*place, "text"), "is missing", "add the question"
        yield from _items(item.get("item"), (*place, "item"), seen)


_TYPES = (
    *("group", "display", "boolean", "decimal", "integer", "date", "dateTime", "time", "string"),
    *("text", "url", "choice", "open-choice", "attachment", "reference", "quantity"),
)


_OF_A_LIBRARY = ("id", "url", "version", "name", "status", "content")


def read_form_libraries(policy: Path, findings: list[Finding]) -> Iterator[Mapping[str, Any]]:
    """The CQL libraries of a policy's questionnaires: questionnaires/libraries/<id>.json.

    What does not fit is added to `findings`.
    """
    place = policy / QUESTIONNAIRES / LIBRARIES
    for path in sorted(place.glob("*.json")) if place.is_dir() else ():
        try:
            resource = read_json(path)
        except (ValueError, RecursionError) as error:
            findings.append(not_json(path, error))
            continue
        if not isinstance(resource, dict) or resource.get("resourceType") != "Library":
            findings.append(Finding(path, "resourceType", "is no Library", "write a FHIR Library"))
            continue
        missing = [name for name in _OF_A_LIBRARY if not resource.get(name)]
        findings.extend(Finding(path, name, "is missing", "add it") for name in missing)
        if not missing:
            yield resource
