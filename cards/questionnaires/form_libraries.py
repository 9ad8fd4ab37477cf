"""CQL libraries of the forms: FHIR Library resources, one JSON file each, with CQL and its ELM."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from cards.vocabulary import Json

FOLDER = "libraries"


@dataclass(frozen=True, slots=True)
class FormLibraries:
    """Libraries by URL, each in its versions, the newest last."""

    by_url: Mapping[str, tuple[Json, ...]]

    def __iter__(self) -> Iterator[Json]:
        for versions in self.by_url.values():
            yield from versions

    def by_id(self, library_id: str) -> Json | None:
        """The newest Library of this id, or None."""
        return next((v for v in reversed([*self]) if v["id"] == library_id), None)

    def by_canonical(self, canonical: str) -> Json | None:
        """The Library of a canonical, in its version if it has one, else the newest; or None."""
        url, _, version = canonical.partition("|")
        found = self.by_url.get(url, ())
        return next((v for v in reversed(found) if version in ("", v["version"])), None)


def load_libraries(further: Iterable[Mapping[str, Any]] = ()) -> FormLibraries:
    """The libraries of the shipped forms, and `further` ones, each with id, url and version."""
    by_url: dict[str, list[Json]] = {}
    for library in (*_shipped(), *further):
        by_url.setdefault(library["url"], []).append(dict(library))
    return FormLibraries({url: tuple(found) for url, found in by_url.items()})


@functools.cache
def _shipped() -> tuple[Json, ...]:
    folder = resources.files("cards.questionnaires") / FOLDER
    if not folder.is_dir():
        return ()
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    return tuple(json.loads(f.read_text("utf-8")) for f in files)
