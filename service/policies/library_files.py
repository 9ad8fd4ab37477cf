"""Files of a library with their digest: the same on each machine for the same policies.

A file is known by its name inside the library, so that no path of a machine is in a digest, and its
line endings do not count. Files that no reader reads do not count either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from service.errors import Finding, LibraryError
from service.policies.manifest import MANIFEST
from service.policies.program_table import PROGRAMS_FILE

POLICIES = "policies"
ADDED = "added"
PAYERS = "payers.yaml"
PROGRAMS = "programs.yaml"

DIGITS = 32
"""Hexadecimal digits of a digest: the first half of a SHA-256."""

_READ = (".yaml", ".csv", ".json")
_DEEPEST = 6
"""Folders within folders; a link to a folder above it would lead on for ever."""


@dataclass(frozen=True, slots=True)
class LibraryPlaces:
    """Places of a library: its folder, the payers, a second folder of policies, the programs.

    `made` is the moment at which the bundle was made that they were unpacked from; None where it
    does not tell, and for folders.
    """

    directory: Path
    payers: Path
    added: Path | None = None
    programs: Path = PROGRAMS_FILE
    made: datetime | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of policies."""
        return (self.directory,) if self.added is None else (self.directory, self.added)

    def paths(self) -> Iterator[tuple[str, Path]]:
        """Each file by its name inside the library: "policies/home-oxygen/cases.yaml"."""
        yield from _within(self.directory, POLICIES)
        if self.added is not None:
            yield from _within(self.added, ADDED)
        yield PAYERS, self.payers
        yield PROGRAMS, self.programs


def read_files(places: LibraryPlaces) -> Mapping[str, bytes]:
    """The content of each file, by its name. Raises LibraryError where one cannot be read."""
    return {name: _content(path) for name, path in places.paths()}


def digest_on_disk(places: LibraryPlaces) -> str:
    """The digest of the files as they are now. Raises LibraryError where one cannot be read."""
    return _digest((name, hash_of_content(_content(path))) for name, path in places.paths())


def digest_of(files: Mapping[str, bytes]) -> str:
    """The digest of files by their names."""
    return _digest((name, hash_of_content(content)) for name, content in files.items())


def hash_of_content(content: bytes) -> str:
    """SHA-256 of a file's text, in whatever line endings it is written."""
    return hashlib.sha256(content.replace(b"\r\n", b"\n")).hexdigest()


def _digest(hashes: Iterator[tuple[str, str]]) -> str:
    lines = "".join(f"{hash} {name}\n" for name, hash in sorted(hashes))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:DIGITS]


def _within(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The files of a folder of policies: its manifest, and all that lies in folders of it."""
    manifest = folder / MANIFEST
    if manifest.is_file():
        yield f"{name}/{MANIFEST}", manifest
    for below in _entries(folder):
        if below.is_dir():
            yield from _all_of(below, f"{name}/{below.name}", _DEEPEST)


def _all_of(folder: Path, name: str, deepest: int) -> Iterator[tuple[str, Path]]:
    for path in _entries(folder):
        if path.suffix in _READ and path.is_file():
            yield f"{name}/{path.name}", path
        elif deepest and path.is_dir():
            yield from _all_of(path, f"{name}/{path.name}", deepest - 1)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as error:
        raise _unreadable(folder, error) from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> LibraryError:
    problem = f"cannot be read: {error.strerror}"
    return LibraryError([Finding(path, "(file)", problem, "check that it exists and may be read")])
