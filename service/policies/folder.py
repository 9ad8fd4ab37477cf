"""Library folder: policies, notices and cases as read, before consistency checks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from service.decision.policy import PolicyVersion
from service.decision.programs import ProgramTable
from service.errors import Finding, LibraryError
from service.field_path import FieldPath
from service.policies import files
from service.policies.cases import CASES, CasesFile
from service.policies.condition_models import Compiler
from service.policies.files import LibraryFile
from service.policies.manifest import MANIFEST, Manifest
from service.policies.notices import Notice
from service.policies.policy_file import CompiledRules, PolicyFile
from service.policies.program_table import (
    PROGRAMS,
    ProgramsFile,
    read_programs,
    shipped_programs,
)
from service.policies.questionnaire_files import (
    QuestionnaireFile,
    read_form_libraries,
    read_questionnaires,
)
from service.policies.reading_cache import ReadingCache
from service.policies.value_set_files import NamedSet, read_value_sets
from service.yaml_files import read_yaml

M = TypeVar("M", bound=BaseModel)
Dated = TypeVar("Dated", PolicyFile, Notice)

NOTICES = "_notices"

Version = LibraryFile[PolicyFile]
"""One version of a policy, in its file."""
Edition = LibraryFile[Notice]
"""One edition of a notice, in its file."""


@dataclass(frozen=True, slots=True)
class LibraryFolder:
    """The files of a library's directory, valid and invalid.

    Versions and editions are sorted by their start; `notice_ids` are known also for unread notices;
    `manifest` is None if it is absent or unread; `questionnaires` are the policies' own, by policy
    and id, `form_libraries` the CQL libraries beside them; `own_programs` is the table beside the
    policies, None if there is none or it is unread; `findings` are of invalid files.
    """

    directory: Path
    policies: Mapping[str, tuple[Version, ...]]
    notices: Mapping[str, tuple[Edition, ...]]
    notice_ids: frozenset[str]
    cases: Mapping[str, LibraryFile[CasesFile]]
    manifest: LibraryFile[Manifest] | None
    value_sets: Mapping[str, NamedSet]
    questionnaires: Mapping[str, Mapping[str, QuestionnaireFile]]
    form_libraries: tuple[Mapping[str, Any], ...]
    own_programs: LibraryFile[ProgramsFile] | None
    findings: tuple[Finding, ...]
    _compiled: dict[Path, tuple[CompiledRules, tuple[Finding, ...]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def programs(self) -> ProgramTable:
        """The table of programs that the cases go by."""
        return self.own_programs.data.table() if self.own_programs else shipped_programs()

    @property
    def versions(self) -> Iterator[Version]:
        """Every version of every policy."""
        for versions in self.policies.values():
            yield from versions

    @property
    def editions(self) -> Iterator[Edition]:
        """Every edition of every notice."""
        for editions in self.notices.values():
            yield from editions

    def compiled(self, file: Version) -> tuple[CompiledRules, tuple[Finding, ...]]:
        """A version's rules by the value sets on file, and what is wrong with them.

        With a finding the rules are of no use.
        """
        found = self._compiled.get(file.path)
        if found is None:
            wrong: list[Finding] = []

            def say(where: FieldPath, problem: str, repair: str) -> None:
                wrong.append(file.finding(where, problem, repair))

            sets = {id: named.codes for id, named in self.value_sets.items()}
            rules = file.data.compiled(Compiler(sets, say))
            found = self._compiled[file.path] = (rules, tuple(dict.fromkeys(wrong)))
        return found

    def version(self, file: Version) -> PolicyVersion:
        """The version of a file, where nothing stops it (see lint.rule_table.STOPPING)."""
        return file.data.version(self.value_sets, self.compiled(file)[0])

    @property
    def every_file(self) -> Iterator[Version | Edition]:
        """Every version of every policy and every edition of every notice."""
        yield from self.versions
        yield from self.editions


def read_folder(
    directory: Path,
    *,
    policies: bool = True,
    notices: bool = True,
    checks: bool = True,
    cache: ReadingCache | None = None,
) -> LibraryFolder:
    """Read a library, or some kinds of its files; `checks` are cases and manifest.

    `cache` has policies and notices as they were read before. Invalid files are findings. Raises
    LibraryError if `directory` is no directory.
    """
    if not directory.is_dir():
        problem, repair = "is not a directory", "set COVERCARD_POLICIES_DIR to the policy folder"
        raise LibraryError([Finding(directory, "(folder)", problem, repair)])
    reader = _Reader(cache)
    policy_folders = _folders(directory)
    notice_folders = _folders(directory / NOTICES)
    versions = {f.name: _dated_files(f) for f in policy_folders if policies}
    editions = {f.name: _dated_files(f) for f in notice_folders if notices}
    dated = [*chain(*versions.values(), *editions.values())]
    with nullcontext() if cache is None else cache.reading(dated, read_yaml):
        value_sets = read_value_sets(directory, reader.findings) if policies else {}
        read_versions = {id: reader.dated(of, PolicyFile) for id, of in versions.items()}
        read_editions = {id: reader.dated(of, Notice) for id, of in editions.items()}
    return LibraryFolder(
        directory=directory,
        policies=read_versions,
        notices=read_editions,
        notice_ids=frozenset(f.name for f in notice_folders),
        cases=dict(reader.cases(policy_folders)) if checks else {},
        manifest=reader.manifest(directory / MANIFEST) if checks else None,
        value_sets=value_sets,
        questionnaires={
            f.name: read_questionnaires(f, reader.findings) for f in policy_folders if policies
        },
        form_libraries=tuple(
            library
            for f in policy_folders
            if policies
            for library in read_form_libraries(f, reader.findings)
        ),
        own_programs=reader.programs(directory / PROGRAMS) if policies else None,
        findings=tuple(reader.findings),
    )


def _dated_files(folder: Path) -> list[Path]:
    """The files of a policy or notice, without its cases, in the sequence of their names."""
    names = (e.name for e in os.scandir(folder))
    return [folder / n for n in sorted(names) if n.endswith(".yaml") and n.lower() != CASES]


def _folders(place: Path) -> list[Path]:
    """The folders in a place, without those that begin with a dot or an underscore."""
    if not place.is_dir():
        return []
    return sorted(f for f in place.iterdir() if f.is_dir() and f.name[0] not in "._")


@dataclass(frozen=True, slots=True)
class _Reader:
    cache: ReadingCache | None
    findings: list[Finding] = field(default_factory=list)

    def dated(self, paths: Sequence[Path], model: type[Dated]) -> tuple[LibraryFile[Dated], ...]:
        read = [file for path in paths if (file := self.read(path, model))]
        return tuple(sorted(read, key=lambda file: file.data.effective.start))

    def cases(self, folders: Sequence[Path]) -> Iterator[tuple[str, LibraryFile[CasesFile]]]:
        for folder in folders:
            path = folder / CASES
            file = self.read(path, CasesFile) if path.is_file() else None
            if file:
                yield folder.name, file

    def manifest(self, path: Path) -> LibraryFile[Manifest] | None:
        return self.read(path, Manifest) if path.is_file() else None

    def programs(self, path: Path) -> LibraryFile[ProgramsFile] | None:
        try:
            return read_programs(path) if path.is_file() else None
        except LibraryError as error:
            self.findings.extend(error.findings)
            return None

    def read(self, path: Path, model: type[M]) -> LibraryFile[M] | None:
        try:
            return files.load(path, model, self.cache)
        except LibraryError as error:
            self.findings.extend(error.findings)
            return None
