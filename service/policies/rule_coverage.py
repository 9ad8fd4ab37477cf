"""Coverage of rules by cases: each condition is shown true and false, or is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from service.decision.policy import PolicyVersion, Program
from service.decision.programs import NO_COVERAGE
from service.policies.cases import Case, CaseFacts

Sides = Mapping[tuple[str, str], frozenset[bool]]
"""By rule and condition in words, the sides that some case shows."""


def sides(version: PolicyVersion, cases: Iterable[Case]) -> Sides:
    """Every condition of every rule with the sides that the cases come to."""
    found: dict[tuple[str, str], set[bool]] = {}
    for rules in version.rules.values():
        for rule, words in rules.conditions():
            found.setdefault((rule, words), set())
    for case in cases:
        rules_of_case = version.rules.get(_program(case))
        if rules_of_case is None:
            continue
        for result in rules_of_case.decide(CaseFacts(case)).results:
            for tested in result.tests:
                if tested.truth is not None:
                    found[result.rule, tested.test.words].add(tested.truth)
    return {key: frozenset(shown) for key, shown in found.items()}


def uncovered_sides(
    version: PolicyVersion, cases: Iterable[Case]
) -> Iterator[tuple[str, str, str]]:
    """(rule, condition in words, "true" or "false") of what no case shows."""
    for (rule, words), shown in sides(version, cases).items():
        for side, name in ((True, "true"), (False, "false")):
            if side not in shown:
                yield rule, words, name


def _program(case: Case) -> Program:
    """The program that a case is decided for."""
    usable = case.finding.usable
    return (usable.program if usable else NO_COVERAGE).program
