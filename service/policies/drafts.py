"""Policy and notice files as read, before anything is built of them: what lint and store look at.

A draft's file fits its schema; whether its parts agree with each other is for the lint rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from service.decision.order import Code
from service.errors import Finding, LibraryError
from service.fhir.systems import CPT, HCPCS
from service.policies import files
from service.policies.files import Kind, LibraryFile

NOTICES = "_notices"
CASES = "cases.yaml"

SYSTEMS = {"cpt": CPT, "hcpcs": HCPCS}
"""The names by which the files call the systems of codes."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One version of a policy, or one edition of a notice, in its file.

    `folder` names the policy or notice that the file is put under.
    """

    file: LibraryFile
    folder: str

    @property
    def data(self) -> Mapping[str, Any]:
        data: Mapping[str, Any] = self.file.data
        return data

    @property
    def starts(self) -> date:
        return date.fromisoformat(self.data["effective"]["start"])

    @property
    def ends(self) -> date | None:
        end = self.data["effective"].get("end")
        return date.fromisoformat(end) if end else None

    @property
    def codes(self) -> Mapping[Code, Mapping[str, Any]]:
        """A policy's codes, each with its entry in the file."""
        return {code_of(c): c for group in self.data["services"] for c in group["codes"]}

    @property
    def citations(self) -> Mapping[str, Mapping[str, Any]]:
        return {c["id"]: c for c in self.data["citations"]}

    def overlaps(self, other: Draft) -> bool:
        """Whether there is a day on which both are in force."""
        return (self.ends or date.max) >= other.starts and (other.ends or date.max) >= self.starts


def code_of(entry: Mapping[str, Any]) -> Code:
    """A code entry's canonical code."""
    return Code(SYSTEMS[entry["system"]], entry["code"])


@dataclass(frozen=True, slots=True)
class Drafts:
    """Everything under a library's directory that could be read, and what could not.

    Versions and editions are sorted by their start; `notice_ids` are known even where the notices
    were not read; `findings` are the files that did not fit.
    """

    directory: Path
    policies: Mapping[str, tuple[Draft, ...]]
    notices: Mapping[str, tuple[Draft, ...]]
    notice_ids: frozenset[str]
    cases: Mapping[str, LibraryFile]
    findings: tuple[Finding, ...]

    @property
    def versions(self) -> Iterator[Draft]:
        """Every version of every policy."""
        for versions in self.policies.values():
            yield from versions

    @property
    def editions(self) -> Iterator[Draft]:
        """Every edition of every notice."""
        for editions in self.notices.values():
            yield from editions


def read_drafts(
    directory: Path, *, policies: bool = True, notices: bool = True, cases: bool = True
) -> Drafts:
    """Read a library, all of it or some kinds of files only.

    Files that do not fit come back as findings. Raises LibraryError if `directory` is no directory.
    """
    if not directory.is_dir():
        problem, repair = "is not a directory", "set COVERCARD_POLICIES_DIR to the policy folder"
        raise LibraryError([Finding(directory, "(folder)", problem, repair)])
    reader = _Reader()
    policy_folders = _folders(directory)
    notice_folders = _folders(directory / NOTICES)
    return Drafts(
        directory=directory,
        policies={f.name: reader.drafts(f, "policy") for f in policy_folders if policies},
        notices={f.name: reader.drafts(f, "notice") for f in notice_folders if notices},
        notice_ids=frozenset(f.name for f in notice_folders),
        cases=dict(reader.cases(policy_folders)) if cases else {},
        findings=tuple(reader.findings),
    )


def _folders(place: Path) -> list[Path]:
    """The folders in a place, without hidden ones and those that begin with an underscore."""
    if not place.is_dir():
        return []
    return sorted(f for f in place.iterdir() if f.is_dir() and f.name[0] not in "._")


@dataclass(frozen=True, slots=True)
class _Reader:
    findings: list[Finding] = field(default_factory=list)

    def drafts(self, folder: Path, kind: Kind) -> tuple[Draft, ...]:
        paths = sorted(p for p in folder.glob("*.yaml") if p.name.lower() != CASES)
        read = [self.read(path, kind) for path in paths]
        drafts = [Draft(file, folder.name) for file in read if file]
        return tuple(sorted(drafts, key=lambda d: d.starts))

    def cases(self, folders: Sequence[Path]) -> Iterator[tuple[str, LibraryFile]]:
        for folder in folders:
            path = folder / CASES
            file = self.read(path, "cases") if path.is_file() else None
            if file:
                yield folder.name, file

    def read(self, path: Path, kind: Kind) -> LibraryFile | None:
        try:
            return files.load(path, kind)
        except LibraryError as error:
            self.findings.extend(error.findings)
            return None
