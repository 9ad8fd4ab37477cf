"""Lint of a policy library: errors that would mislead a reader or break an answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from service.decision.programs import ProgramTable
from service.errors import Finding, LibraryError
from service.policies import files
from service.policies.folder import LibraryFolder, read_folder
from service.policies.lint.payer_rules import (
    duplicate_payers,
    other_programs,
    policies_are_applied,
    programs_have_words,
    unknown_policies,
    unknown_programs,
)
from service.policies.lint.rule_table import ALL, DATED
from service.policies.payers import PayersFile
from service.policies.program_table import PROGRAMS, PROGRAMS_FILE, read_programs


def lint_library(
    directory: Path, payers_path: Path | None, on: date, programs_path: Path | None = None
) -> list[Finding]:
    """Everything found in the policies, notices and cases under `directory`, and in the payers.

    `on` is the day of the check of reviews and editions, `programs_path` the table by which the
    service decides: by default the folder's, or the one that comes with the service. Sorted by file
    and line, without duplicates; a `Finding.warning` is no error. Raises LibraryError if
    `directory` is no directory.
    """
    folder = read_folder(directory)
    found = [*folder.findings]
    for rule in ALL:
        found.extend(rule(folder))
    for dated in DATED:
        found.extend(dated(folder, on))
    programs = _programs(programs_path or _beside(directory), folder, found)
    if payers_path is not None and programs is not None:
        found.extend(_payers(payers_path, programs, folder))
    return sorted(dict.fromkeys(found), key=lambda f: (str(f.file), f.line or 0, f.field))


def _beside(directory: Path) -> Path:
    own = directory / PROGRAMS
    return own if own.is_file() else PROGRAMS_FILE


def _programs(path: Path, folder: LibraryFolder, found: list[Finding]) -> ProgramTable | None:
    try:
        file = read_programs(path)
    except LibraryError as error:
        found.extend(error.findings)
        return None
    found.extend(other_programs(file, folder))
    return file.data.table()


def _payers(path: Path, programs: ProgramTable, folder: LibraryFolder) -> Iterator[Finding]:
    try:
        payers = files.load(path, PayersFile)
    except LibraryError as error:
        yield from error.findings
        return
    yield from duplicate_payers(payers)
    yield from unknown_policies(payers, folder)
    yield from unknown_programs(payers, programs)
    yield from programs_have_words(payers, programs, folder)
    yield from policies_are_applied(payers, folder)
