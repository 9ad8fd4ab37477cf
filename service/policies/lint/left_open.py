"""Lint rule on a skeleton's unfilled places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel

from service.errors import Finding
from service.field_path import FieldPath
from service.policies import files
from service.policies.folder import LibraryFolder
from service.policies.new_policy import CODE_TO_FILL_IN, FILL_IN


def nothing_is_left_to_fill_in(folder: LibraryFolder) -> Iterator[Finding]:
    for file in (*folder.every_file, *folder.cases.values()):
        if _has_marks(file.path):
            for where, text in _texts(file.data):
                if _is_marked(text):
                    yield files.finding(file.path, where, *_still_open(text))
    for named in folder.value_sets.values():
        for path in named.files:
            if _has_marks(path):
                yield from _in_value_set(path)


def _in_value_set(path: Path) -> Iterator[Finding]:
    """A line of a table is the place; other files have fields."""
    if path.suffix == ".csv":
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if _is_marked(line):
                yield Finding(path, "(line)", *_still_open(line), number)
        return
    for where, text in _texts(files.parse(path)):
        if _is_marked(text):
            yield files.finding(path, where, *_still_open(text))


def _has_marks(path: Path) -> bool:
    """Whether a mark is anywhere in the file: in most there is none, and no more is to be done."""
    content = path.read_bytes()
    return any(mark.encode() in content for mark in (FILL_IN, CODE_TO_FILL_IN))


def _is_marked(text: str) -> bool:
    return FILL_IN in text or CODE_TO_FILL_IN in text


def _still_open(text: str) -> tuple[str, str]:
    return f"{text} is still to be filled in", "write it"


def _texts(value: object, where: FieldPath = ()) -> Iterator[tuple[FieldPath, str]]:
    """Every text of a file, whatever it is for."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _texts(getattr(value, name), (*where, name))
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(each, (*where, key))
    elif isinstance(value, tuple | list):
        for i, each in enumerate(value):
            yield from _texts(each, (*where, i))
