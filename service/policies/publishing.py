"""Publishing of the files of a policy or notice: entries in the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from service.errors import ConfigurationError, Finding, LibraryError
from service.policies.cases import run_case
from service.policies.folder import Edition, LibraryFolder, Version, read_folder
from service.policies.lint.rule_table import CONTENT
from service.policies.manifest import ManifestEntry, add_entries, entry_of, hash_of, name_of
from service.policies.notices import NoticeLibrary
from service.policies.policy_store import PolicyStore


def publish(
    library: Path, name: str, on: date, because: str | None = None
) -> Sequence[ManifestEntry]:
    """Add the new files of the policy or notice `name` to the manifest; returns the entries.

    `because` is the reason for publishing a file again: an end, a correction. Raises LibraryError
    with all errors of the library and all failed cases, and ConfigurationError for an unknown name
    or an absent reason.
    """
    folder = read_folder(library)
    found = [*folder.findings, *(f for rule in CONTENT for f in rule(folder) if not f.warning)]
    if found:
        raise LibraryError(found)
    files = [file for file in folder.every_file if file.folder == name]
    if not files:
        known = ", ".join(sorted({file.folder for file in folder.every_file}))
        raise ConfigurationError(f"no policy and no notice {name!r} is on file; on file: {known}")
    failed = list(_failed(folder))
    if failed:
        raise LibraryError(failed)
    entries = list(_entries(folder, files, on, because))
    add_entries(library, entries)
    return entries


def _entries(
    folder: LibraryFolder, files: Sequence[Version | Edition], on: date, because: str | None
) -> Iterator[ManifestEntry]:
    published = folder.manifest.data.latest() if folder.manifest else {}
    for file in files:
        entry = published.get(name_of(file.path, folder.directory))
        if entry is None:
            yield entry_of(file.path, folder.directory, on, None)
        elif entry.sha256 != hash_of(file.path):
            if because is None:
                raise ConfigurationError(
                    f"{entry.file} was published on {entry.on}: give the reason (--because) of an"
                    " end or a correction; what else changes is a version of its own"
                )
            yield entry_of(file.path, folder.directory, on, because)


def _failed(folder: LibraryFolder) -> Iterator[Finding]:
    policies = PolicyStore([folder.version(file) for file in folder.versions])
    notices = NoticeLibrary([file.data for file in folder.editions])
    for policy, file in folder.cases.items():
        for i, case in enumerate(file.data.of(policy, folder.programs)):
            result = run_case(case, policies, notices)
            if not result.passed:
                problem = "; ".join(result.differences)
                yield file.finding(("cases", i), problem, "fix the policy or the case")
