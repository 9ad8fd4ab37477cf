"""Lint rules on wording: length, and forbidden sentences.

Placeholders are checked when a file is read (see cards.texts.placeholders).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from typing import TypeVar, get_args

from pydantic import BaseModel, RootModel

from cards.naming import (
    MOST_CODES_NAMED,
    SUMMARY_LIMIT,
    NamedService,
    codes_phrase,
    fill_in,
    services_phrase,
)
from cards.texts.placeholders import Placeholders
from service.errors import Finding
from service.field_path import FieldPath
from service.policies.files import LibraryFile
from service.policies.folder import Edition, LibraryFolder, Version
from service.policies.policy_file import PolicyFile

M = TypeVar("M", bound=BaseModel)

NEVER_SAID: Mapping[str, str] = {
    r"medicare does not cover": "say that Medicare is likely to deny it; no Medicare rule says so",
    r"\bdenied\b": "a card is information: say not covered, or likely to deny",
    r"\bthis is a (coverage )?determination": "a card is information, not a determination",
    r"\b(decision|answer|determination)\b[^.]*\b\d+[ -](calendar |business |working )?days?\b": (
        "leave out how many days a decision takes"
    ),
    r"220\.2\.1": "that NCD is no longer in force: leave it out",
}
"""Forbidden wording (lower case), with its replacement."""


def summary_fits_a_card(folder: LibraryFolder) -> Iterator[Finding]:
    """A card's summary is under 140 characters for any of its services."""
    latest = {edition.folder: edition for edition in folder.editions}
    for file in folder.versions:
        together = [(services_phrase(s), codes_phrase(s)) for s in _named_together(file.data)]
        for holder, where, template in _summaries(file, latest):
            longest = max((fill_in(template, *phrases) for phrases in together), key=len)
            if len(longest) > SUMMARY_LIMIT:
                problem = f"{len(longest)} characters once filled in: {longest}"
                yield holder.finding(where, problem, f"stay within {SUMMARY_LIMIT}")


def _summaries(
    file: Version, editions: Mapping[str, Edition]
) -> Iterator[tuple[Version | Edition, FieldPath, str]]:
    """The policy's own summaries, and those of the notices that it suggests."""
    for program, wording in file.data.wording.given():
        yield file, ("wording", program.value, "summary"), wording.summary
    for where, outcome in file.data.outcomes:
        if outcome.summary is not None:
            yield file, (*where, "summary"), outcome.summary
    if file.data.open is not None:
        yield file, ("open", "summary"), file.data.open.summary
    for where, task in file.data.form_tasks:
        yield file, (*where, "summary"), task.summary
    suggested = {notice for _, _, notice in file.data.advance_notice.named}
    for notice in sorted(suggested & editions.keys()):
        yield editions[notice], ("summary",), editions[notice].data.summary


def never_said(folder: LibraryFolder) -> Iterator[Finding]:
    for version in folder.versions:
        yield from never_said_in(version)
    for edition in folder.editions:
        yield from never_said_in(edition)


def never_said_in(file: LibraryFile[M]) -> Iterator[Finding]:
    """The texts of one file that say what must never be said."""
    for where, text in _texts(file.data):
        for pattern, repair in NEVER_SAID.items():
            said = re.search(pattern, text.lower())
            if said:
                yield file.finding(where, f"says “{said.group()}”", repair)


def _named_together(policy: PolicyFile) -> Iterator[list[NamedService]]:
    """The sets of services with the longest phrases: single groups, pairs, and all."""
    groups = [
        [NamedService(c.code, c.name, group.name) for c in group.codes]
        or [NamedService("00000", group.name, group.name)]
        for group in policy.services
    ]
    for group in groups:
        yield group[:MOST_CODES_NAMED]
    for one, other in combinations(groups, 2):
        few = one[: MOST_CODES_NAMED - 1]
        yield [*few, *other[: MOST_CODES_NAMED - len(few)]]
    yield [service for group in groups for service in group]


def _texts(model: BaseModel, where: FieldPath = ()) -> Iterator[tuple[FieldPath, str]]:
    """Every text of a file that people read: those marked with their placeholders."""
    read = _read_by_people(type(model))
    for name in type(model).model_fields:
        at: FieldPath = where if isinstance(model, RootModel) else (*where, name)
        for inner, value in _parts(getattr(model, name), at):
            if isinstance(value, BaseModel):
                yield from _texts(value, inner)
            elif isinstance(value, str) and value and name in read:
                yield inner, value


def _parts(value: object, where: FieldPath) -> Iterator[tuple[FieldPath, object]]:
    """A value, or what is in it where it is a list or a mapping with keys of its own."""
    if isinstance(value, tuple):
        yield from (((*where, i), each) for i, each in enumerate(value))
    elif isinstance(value, dict):
        yield from (((*where, key), each) for key, each in value.items())
    else:
        yield where, value


@cache
def _read_by_people(model: type[BaseModel]) -> frozenset[str]:
    fields = model.model_fields.items()
    return frozenset(n for n, f in fields if _marked(f.annotation) or _marks(f.metadata))


def _marked(type_: object) -> bool:
    inner = get_args(type_)
    return _marks(getattr(type_, "__metadata__", ())) or any(map(_marked, inner))


def _marks(metadata: object) -> bool:
    return isinstance(metadata, (list, tuple)) and any(
        isinstance(m, Placeholders) for m in metadata
    )
