"""Loading of policies, notices and payers from the operator's files.

Errors that would make an answer wrong or ambiguous stop the loading, with all findings at once.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from service.errors import Finding, LibraryError
from service.policies import files
from service.policies.files import LibraryFile
from service.policies.folder import LibraryFolder, read_folder
from service.policies.lint.decision_rules import twice_among_forms
from service.policies.lint.payer_rules import (
    duplicate_payers,
    other_programs,
    programs_have_words,
    twice_on_file,
    unknown_policies,
    unknown_programs,
)
from service.policies.lint.rule_table import START, STOPPING, STOPPING_NOTICES, Rule
from service.policies.notices import NoticeLibrary
from service.policies.payers import Payers, PayersFile
from service.policies.policy_store import PolicyStore
from service.policies.program_table import (
    PROGRAMS_FILE,
    ProgramsFile,
    load_programs,
    read_programs,
)
from service.policies.reading_cache import ReadingCache
from service.policies.value_set_files import NamedSet


class OnFile(NamedTuple):
    """`questionnaires` are the policies' own, as FHIR JSON, `form_libraries` the CQL libraries
    beside them; `value_sets` are by id.
    """

    policies: PolicyStore
    notices: NoticeLibrary
    payers: Payers
    questionnaires: Sequence[Mapping[str, Any]]
    form_libraries: Sequence[Mapping[str, Any]]
    value_sets: Mapping[str, NamedSet]


def load_library(
    directory: Path,
    payers_file: Path,
    added: Path | None = None,
    programs_file: Path = PROGRAMS_FILE,
    cache: ReadingCache | None = None,
) -> OnFile:
    """Read the policies and notices under `directory`, the payers and the programs.

    `added` is a further folder, of policies alone: one of ours and one of another's stay apart.
    `cache` has the library as it was read before, and keeps it for the next time.
    Raises LibraryError with all errors that would make an answer wrong: those of a single policy or
    notice, a notice of another program or without its reason, a payer with an unknown policy.
    """
    with _without_collections():
        return _library(directory, payers_file, added, programs_file, cache)


def _library(
    directory: Path,
    payers_file: Path,
    added: Path | None,
    programs_file: Path,
    cache: ReadingCache | None,
) -> OnFile:
    folder = read_folder(directory, checks=False, cache=cache)
    found = _found(folder, START)
    folders = [folder]
    if added is not None:
        further = read_folder(added, notices=False, checks=False, cache=cache)
        found.extend((*_found(further, STOPPING), *twice_on_file(folder, further)))
        found.extend(f for f in twice_among_forms(folder, further) if f not in found)
        folders.append(further)
    payers = _payers(payers_file, found)
    programs_on_file = _programs(programs_file, found)
    programs = programs_on_file.data.table() if programs_on_file else None
    if payers is not None:
        found.extend((*duplicate_payers(payers), *unknown_policies(payers, *folders)))
        if programs is not None and programs_on_file is not None:
            found.extend(other_programs(programs_on_file, *folders))
            found.extend(unknown_programs(payers, programs))
            found.extend(programs_have_words(payers, programs, *folders))
    if found or payers is None or programs is None:
        raise LibraryError(found)
    if cache is not None:
        cache.keep()
    forms = [q.resource for f in folders for own in f.questionnaires.values() for q in own.values()]
    return OnFile(
        policies=_policies(*folders),
        notices=_notices(folder),
        payers=Payers.of(payers.data, programs),
        questionnaires=forms,
        form_libraries=[library for f in folders for library in f.form_libraries],
        value_sets={id: named for f in folders for id, named in f.value_sets.items()},
    )


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """No garbage collections meanwhile: all that is read stays, and they would look through it.

    Nor right after it: what was made counts as old.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def load_policies(directory: Path) -> PolicyStore:
    """Read every policy under `directory`.

    Raises LibraryError with all errors that would make an answer wrong or ambiguous: invalid files,
    overlapping versions, unresolved citations, a determination without its authority, and others
    (the rules of lint that stop a start).
    """
    folder = read_folder(directory, notices=False, checks=False)
    _stop(_found(folder, STOPPING))
    return _policies(folder)


def load_notices(directory: Path) -> NoticeLibrary:
    """Read every notice under `directory`/_notices. Raises LibraryError with all errors."""
    folder = read_folder(directory, policies=False, checks=False)
    _stop(_found(folder, STOPPING_NOTICES))
    return _notices(folder)


def load_payers(path: Path, programs_file: Path = PROGRAMS_FILE) -> Payers:
    """Read the payers file. Raises LibraryError with everything that is wrong with it."""
    programs = load_programs(programs_file)
    file = files.load(path, PayersFile)
    _stop([*duplicate_payers(file), *unknown_programs(file, programs)])
    return Payers.of(file.data, programs)


def _found(folder: LibraryFolder, rules: Sequence[Rule]) -> list[Finding]:
    return [*folder.findings, *(f for rule in rules for f in rule(folder))]


def _stop(found: list[Finding]) -> None:
    if found:
        raise LibraryError(found)


def _policies(*folders: LibraryFolder) -> PolicyStore:
    return PolicyStore([folder.version(file) for folder in folders for file in folder.versions])


def _notices(folder: LibraryFolder) -> NoticeLibrary:
    return NoticeLibrary([file.data for file in folder.editions])


def _payers(path: Path, found: list[Finding]) -> LibraryFile[PayersFile] | None:
    try:
        return files.load(path, PayersFile)
    except LibraryError as error:
        found.extend(error.findings)
        return None


def _programs(path: Path, found: list[Finding]) -> LibraryFile[ProgramsFile] | None:
    try:
        return read_programs(path)
    except LibraryError as error:
        found.extend(error.findings)
        return None
