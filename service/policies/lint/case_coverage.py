"""Rules about cases: whatever a policy says, at least one sentence holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

from service.decision.order import Code
from service.decision.policy import Program
from service.errors import Finding
from service.fhir.systems import CPT
from service.policies.cases import Case, cases_in
from service.policies.drafts import CASES, SYSTEMS, Draft, Drafts


def policy_has_cases(drafts: Drafts) -> Iterator[Finding]:
    broken = {f.file for f in drafts.findings}
    for policy, versions in drafts.policies.items():
        path = drafts.directory / policy / CASES
        if versions and policy not in drafts.cases and path not in broken:
            yield Finding(path, "(file)", "the policy has no cases", f"add {policy}/{CASES}")


def case_is_told_once(drafts: Drafts) -> Iterator[Finding]:
    for file in drafts.cases.values():
        times = Counter(entry["it"] for entry in file.data["cases"])
        for i, entry in enumerate(file.data["cases"]):
            if times.pop(entry["it"], 1) > 1:
                repair = "let each sentence say what it alone shows"
                yield file.finding(("cases", i, "it"), "another case has this sentence", repair)


def every_code_has_a_case(drafts: Drafts) -> Iterator[Finding]:
    for draft, cases in _with_cases(drafts):
        answered = [c for c in cases if _in_force(draft, c) and c.expect.undetermined is None]
        for code in draft.codes:
            if not any(code in c.codes for c in answered):
                what = f"orders {code.value} while it is in force"
                yield _missing(drafts, draft, what, _how_to_order(code))


def every_program_has_a_case(drafts: Drafts) -> Iterator[Finding]:
    for draft, cases in _with_cases(drafts):
        answered = [c for c in cases if _in_force(draft, c) and c.expect.undetermined is None]
        told = {c.expect.program for c in answered}
        for program in Program:
            if program.value not in told:
                yield _missing(drafts, draft, f"expects the program {program}")


def every_edge_has_a_case(drafts: Drafts) -> Iterator[Finding]:
    """The first day of a version, the day before it, and its last day if it has one."""
    for draft, cases in _with_cases(drafts):
        days = {c.day for c in cases if c.codes & draft.codes.keys()}
        for name, day in _edges(draft):
            if day not in days:
                yield _missing(drafts, draft, f"has its service on {day}, {name}")


def _edges(draft: Draft) -> Iterator[tuple[str, date]]:
    yield "the first day", draft.starts
    yield "the day before the first", draft.starts - timedelta(days=1)
    if draft.ends is not None:
        yield "the last day", draft.ends


def _in_force(draft: Draft, case: Case) -> bool:
    return case.day is not None and draft.starts <= case.day <= (draft.ends or date.max)


def _with_cases(drafts: Drafts) -> Iterator[tuple[Draft, list[Case]]]:
    for policy, file in drafts.cases.items():
        cases = cases_in(file)
        for draft in drafts.policies[policy]:
            yield draft, cases


def _how_to_order(code: Code) -> str:
    if code.system == CPT:
        return "add one"
    system = next(name for name, url in SYSTEMS.items() if url == code.system)
    return f'add one, with the code as {{system: {system}, code: "{code.value}"}}'


def _missing(drafts: Drafts, draft: Draft, what: str, repair: str = "add one") -> Finding:
    file = drafts.cases[draft.folder]
    version = draft.file.path.name
    return file.finding(("cases",), f"no case for {version} {what}", repair)
