"""Lint of a policy library: errors that would mislead a reader or break an answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

from service.errors import Finding, LibraryError
from service.policies import files
from service.policies.folder import LibraryFolder, read_folder
from service.policies.lint.payer_rules import (
    duplicate_payers,
    policies_are_applied,
    programs_have_words,
    unknown_policies,
    unknown_programs,
)
from service.policies.lint.rule_table import ALL, DATED
from service.policies.payers import PayersFile
from service.policies.program_table import PROGRAMS_FILE, load_programs


def lint_library(
    directory: Path, payers_path: Path | None, on: date, programs_path: Path = PROGRAMS_FILE
) -> list[Finding]:
    """Everything found in the policies, notices and cases under `directory`, and in the payers.

    `on` is the day of the check of reviews and editions. Sorted by file and line, without
    duplicates; a `Finding.warning` is no error. Raises LibraryError if `directory` is no directory.
    """
    folder = read_folder(directory)
    found = [*folder.findings]
    for rule in ALL:
        found.extend(rule(folder))
    for dated in DATED:
        found.extend(dated(folder, on))
    if payers_path is not None:
        found.extend(_payers(payers_path, programs_path, folder))
    return sorted(dict.fromkeys(found), key=lambda f: (str(f.file), f.line or 0, f.field))


def _payers(path: Path, programs_path: Path, folder: LibraryFolder) -> Iterator[Finding]:
    try:
        payers = files.load(path, PayersFile)
        programs = load_programs(programs_path)
    except LibraryError as error:
        yield from error.findings
        return
    yield from duplicate_payers(payers)
    yield from unknown_policies(payers, folder)
    yield from unknown_programs(payers, programs)
    yield from programs_have_words(payers, programs, folder)
    yield from policies_are_applied(payers, folder)
