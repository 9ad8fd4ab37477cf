"""Lint rules on a policy's codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations

from service.decision.order import Code
from service.decision.value_sets import CodeSpan
from service.errors import Finding
from service.policies.folder import LibraryFolder, Version
from service.policies.new_policy import CODE_TO_FILL_IN
from service.policies.policy_file import SYSTEMS
from service.policies.value_set_files import VALUE_SETS


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


def codes_have_the_shape_of_their_system(folder: LibraryFolder) -> Iterator[Finding]:
    """An order has the code under its own system: under another one it would never be found."""
    for file in folder.versions:
        for g, group in enumerate(file.data.services):
            for c, entry in enumerate(group.codes):
                is_cpt = _CPT.fullmatch(entry.code) is not None
                if is_cpt is not (entry.system == "cpt") and entry.code != CODE_TO_FILL_IN:
                    if is_cpt:
                        continue  # HCPCS level I is CPT, and found as such
                    where = ("services", g, "codes", c, "code")
                    problem = f"{entry.code} is no CPT code: these begin with four digits"
                    yield file.finding(where, problem, "write system: hcpcs, or fix the code")


_CPT = re.compile(r"[0-9]{4}[0-9A-Z]")


def billing_codes_are_of_the_policy(folder: LibraryFolder) -> Iterator[Finding]:
    """A code that is not there would be left out; and an answer without any is for all codes."""
    for file in folder.versions:
        known = {code.value for code in file.data.codes}
        for where, outcome in file.data.outcomes:
            for i, code in enumerate(outcome.billing_codes):
                if code not in known:
                    at = (*where, "billing_codes", i)
                    problem = f"{code} is not written out among the policy's codes"
                    yield file.finding(at, problem, "add it to services, or fix the code")


def code_stands_in_one_policy_a_day(folder: LibraryFolder) -> Iterator[Finding]:
    by_code: dict[Code, list[Version]] = {}
    for file in folder.versions:
        for code in codes_of(folder, file):
            by_code.setdefault(code, []).append(file)
    for code, versions in by_code.items():
        for one, other in combinations(versions, 2):
            if one.folder != other.folder and one.data.effective.overlaps(other.data.effective):
                problem = f"{code.value} is also in {other.folder} on the same days"
                repair = "leave the code in one of the policies, or end one before the other starts"
                yield one.finding(("services",), problem, repair)


def value_sets_are_on_file(folder: LibraryFolder) -> Iterator[Finding]:
    """A group whose value set is not here would speak of no code at all."""
    for file in folder.versions:
        for g, group in enumerate(file.data.services):
            if group.value_set is None:
                continue
            where = ("services", g, "value_set")
            named = folder.value_sets.get(group.value_set)
            if named is None:
                on_file = "".join(f", or name {id}" for id in sorted(folder.value_sets))
                problem = f"there is no value set {group.value_set}"
                yield file.finding(where, problem, f"add it to {VALUE_SETS}{on_file}")
            elif any(isinstance(line.what, CodeSpan) for line in named.lines):
                problem = f"{group.value_set} holds a prefix or a range"
                repair = "list each billing code of its own: an order is looked up by its code"
                yield file.finding(where, problem, repair)
            elif other := named.codes.systems - set(SYSTEMS.values()):
                problem = f"{group.value_set} holds codes of {', '.join(sorted(other))}"
                yield file.finding(where, problem, f"keep those of {' and '.join(SYSTEMS)}")


def codes_of(folder: LibraryFolder, file: Version) -> Iterator[Code]:
    """Every code that a version speaks of, on whichever day, those of value sets included."""
    yield from file.data.codes
    for group in file.data.services:
        named = folder.value_sets.get(group.value_set or "")
        for line in named.lines if named else ():
            if isinstance(line.what, Code):
                yield line.what
