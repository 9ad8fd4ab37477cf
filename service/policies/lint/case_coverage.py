"""Lint rules on cases: each statement of a policy has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

from service.decision.order import Code
from service.errors import Finding
from service.fhir.systems import CPT
from service.policies.cases import CASES, Case
from service.policies.fields import Period
from service.policies.folder import LibraryFolder, Version
from service.policies.lint.codes import codes_of
from service.policies.policy_file import SYSTEMS


def policy_has_cases(folder: LibraryFolder) -> Iterator[Finding]:
    broken = {f.file for f in folder.findings}
    for policy, versions in folder.policies.items():
        path = folder.directory / policy / CASES
        if versions and policy not in folder.cases and path not in broken:
            yield Finding(path, "(file)", "the policy has no cases", f"add {policy}/{CASES}")


def case_is_told_once(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.cases.values():
        times = Counter(entry.it for entry in file.data.cases)
        for i, entry in enumerate(file.data.cases):
            if times.pop(entry.it, 1) > 1:
                repair = "let each sentence say what it alone shows"
                yield file.finding(("cases", i, "it"), "another case has this sentence", repair)


def every_code_has_a_case(folder: LibraryFolder) -> Iterator[Finding]:
    for file, cases in _with_cases(folder):
        answered = [c for c in cases if _in_force(file, c) and c.expect.undetermined is None]
        for code in file.data.codes:
            if not any(code in c.codes for c in answered):
                what = f"orders {code.value} while it is in force"
                yield _missing(folder, file, what, _how_to_order(code))


def every_program_has_a_case(folder: LibraryFolder) -> Iterator[Finding]:
    for file, cases in _with_cases(folder):
        answered = [c for c in cases if _in_force(file, c) and c.expect.undetermined is None]
        told = {c.expect.program for c in answered}
        for program, _ in file.data.determinations.given():
            if program not in told:
                yield _missing(folder, file, f"expects the program {program}")


def every_edge_has_a_case(folder: LibraryFolder) -> Iterator[Finding]:
    """A case for a version's first day, the day before it, and its last day, if any."""
    for file, cases in _with_cases(folder):
        days = {c.day for c in cases if c.codes & set(codes_of(folder, file))}
        for name, day in _edges(file.data.effective):
            if day not in days:
                yield _missing(folder, file, f"has its service on {day}, {name}")


def _edges(period: Period) -> Iterator[tuple[str, date]]:
    yield "the first day", period.start
    yield "the day before the first", period.start - timedelta(days=1)
    if period.end is not None:
        yield "the last day", period.end


def _in_force(file: Version, case: Case) -> bool:
    return case.day is not None and file.data.effective.holds(case.day)


def _with_cases(folder: LibraryFolder) -> Iterator[tuple[Version, list[Case]]]:
    for policy, file in folder.cases.items():
        cases = file.data.of(policy, folder.programs)
        for version in folder.policies[policy]:
            yield version, cases


def _how_to_order(code: Code) -> str:
    if code.system == CPT:
        return "add one"
    system = next(name for name, url in SYSTEMS.items() if url == code.system)
    return f'add one, with the code as {{system: {system}, code: "{code.value}"}}'


def _missing(folder: LibraryFolder, file: Version, what: str, repair: str = "add one") -> Finding:
    cases = folder.cases[file.folder]
    return cases.finding(("cases",), f"no case for {file.path.name} {what}", repair)
