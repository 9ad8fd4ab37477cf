"""Lint rules on citations: each reference resolves uniquely, each citation is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from service.errors import Finding
from service.field_path import FieldPath
from service.policies.folder import LibraryFolder
from service.policies.policy_file import PolicyFile


def citations_resolve(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.versions:
        listed = {c.id for c in file.data.citations}
        for where, name in _uses(file.data):
            if name not in listed:
                problem = f"{name} is not among the citations"
                yield file.finding(where, problem, "add it to citations, or fix the name")


def citations_stand_once(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.versions:
        for name, times in Counter(c.id for c in file.data.citations).items():
            if times > 1:
                problem = f"{name} is listed {times} times"
                yield file.finding(("citations",), problem, "leave one of them")


def citations_are_used(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.versions:
        used = {name for _, name in _uses(file.data)}
        for i, citation in enumerate(file.data.citations):
            if citation.id not in used:
                problem = f"{citation.id} is used nowhere"
                repair = "cite it in a reason, an authority or related, or remove it"
                yield file.finding(("citations", i, "id"), problem, repair)


def _uses(policy: PolicyFile) -> Iterator[tuple[FieldPath, str]]:
    for i, authority in enumerate(policy.authorities):
        if authority.found is not None:
            yield ("authorities", i, "found"), authority.found
    for where, outcome in policy.outcomes:
        for i, name in enumerate(outcome.reason.citations):
            yield (*where, "reason", "citations", i), name
    for i, name in enumerate(policy.related):
        yield ("related", i), name
