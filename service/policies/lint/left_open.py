"""Lint rule on a skeleton's unfilled places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from service.errors import Finding
from service.field_path import FieldPath
from service.policies.folder import LibraryFolder
from service.policies.new_policy import CODE_TO_FILL_IN, FILL_IN


def nothing_is_left_to_fill_in(folder: LibraryFolder) -> Iterator[Finding]:
    for file in (*folder.every_file, *folder.cases.values()):
        for where, text in _texts(file.data):
            if FILL_IN in text or CODE_TO_FILL_IN in text:
                yield file.finding(where, f"{text} is still to be filled in", "write it")


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
    elif isinstance(value, tuple):
        for i, each in enumerate(value):
            yield from _texts(each, (*where, i))
