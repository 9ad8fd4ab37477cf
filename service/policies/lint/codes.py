"""Lint rules on a policy's codes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from service.decision.order import Code
from service.errors import Finding
from service.policies.folder import LibraryFolder, Version


def code_stands_once_in_a_version(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.versions:
        seen: set[Code] = set()
        for g, group in enumerate(file.data.services):
            for c, entry in enumerate(group.codes):
                if entry.canonical in seen:
                    where = ("services", g, "codes", c, "code")
                    problem = f"{entry.code} is listed twice"
                    yield file.finding(where, problem, "leave one of the two")
                seen.add(entry.canonical)


def code_stands_in_one_policy_a_day(folder: LibraryFolder) -> Iterator[Finding]:
    by_code: dict[Code, list[Version]] = {}
    for file in folder.versions:
        for code in file.data.codes:
            by_code.setdefault(code, []).append(file)
    for code, versions in by_code.items():
        for one, other in combinations(versions, 2):
            if one.folder != other.folder and one.data.effective.overlaps(other.data.effective):
                problem = f"{code.value} is also in {other.folder} on the same days"
                repair = "leave the code in one of the policies, or end one before the other starts"
                yield one.finding(("services",), problem, repair)
