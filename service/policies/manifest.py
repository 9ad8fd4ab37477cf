"""Manifest of a library: hashes of published files, which are never edited.

Append-only. A correction, or the end of a version, is its own entry with day and reason; the latest
entry of a file is valid.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from service.policies.fields import Day, Model, Several, Text, Told, Write

MANIFEST = "manifest.yaml"

_BEGINS = """\
# Written by `covercard policy publish`: the hash of every published file. Entries are only added.
published:
"""


class ManifestEntry(Model):
    """One publication of a file."""

    file: Text = Field(description="The file's path in the library, with slashes.")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$"), Write("the file's SHA-256")]
    on: Day = Field(description="The day on which it was published.")
    because: Told[Text] = Field(None, description="Why it was published again.")


class Manifest(Model):
    """All publications, in sequence: manifest.yaml"""

    published: Several[ManifestEntry]

    def latest(self) -> dict[str, ManifestEntry]:
        """The valid entry, by file."""
        return {entry.file: entry for entry in self.published}


def hash_of(path: Path) -> str:
    """SHA-256 of a file's text, independent of its line endings."""
    return hashlib.sha256(path.read_text("utf-8").encode()).hexdigest()


def name_of(path: Path, library: Path) -> str:
    """A file's name in the manifest."""
    return path.relative_to(library).as_posix()


def add_entries(library: Path, entries: Iterable[ManifestEntry]) -> None:
    """Append entries to the library's manifest."""
    path = library / MANIFEST
    before = path.read_text("utf-8") if path.exists() else _BEGINS
    lines = [line for entry in entries for line in _lines(entry)]
    path.write_text(before.rstrip("\n") + "\n" + "".join(lines), "utf-8")


def _lines(entry: ManifestEntry) -> Iterator[str]:
    yield f"  - file: {entry.file}\n"
    # Quoted: digits alone, or with one e among them, are a number in YAML.
    yield f'    sha256: "{entry.sha256}"\n'
    yield f'    on: "{entry.on}"\n'
    if entry.because is not None:
        # A JSON string is a YAML string.
        yield f"    because: {json.dumps(entry.because, ensure_ascii=False)}\n"


def entry_of(path: Path, library: Path, on: date, because: str | None) -> ManifestEntry:
    """The entry that publishes a file as it is."""
    return ManifestEntry.model_construct(
        file=name_of(path, library), sha256=hash_of(path), on=on, because=because
    )
