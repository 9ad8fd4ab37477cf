"""Lint rules on authorities: sequence, citation, and support of determinations.

"covered" and "not covered" require an authority.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.decision.policy import Covered, Program
from service.errors import Finding
from service.policies.folder import LibraryFolder
from service.policies.policy_file import LEVELS


def authorities_are_in_order(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.versions:
        ranks = [LEVELS.index(a.level) for a in file.data.authorities]
        if ranks != sorted(set(ranks)):
            repair = f"list each level once, in this order: {', '.join(LEVELS)}"
            yield file.finding(("authorities",), "levels are out of order", repair)


def determination_has_an_authority(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.versions:
        if file.data.governing is None:
            said = {d.covered for _, d in file.data.determinations.given()}
            problem = f"no authority was found, yet the answers are {', '.join(sorted(said))}"
            repair = "name the authority found, or remove the policy: nothing carries its answers"
            yield file.finding(("determinations",), problem, repair)


def determination_cites_its_authority(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.versions:
        governing = file.data.governing
        for program, determination in file.data.determinations.given():
            settled = determination.covered is not Covered.CONDITIONAL
            if governing and settled and governing.found not in determination.reason.citations:
                where = ("determinations", program.value, "reason", "citations")
                problem = f"the governing authority, {governing.found}, is not cited"
                yield file.finding(where, problem, f"add {governing.found}")


def plan_policy_does_not_decide_for_medicare(folder: LibraryFolder) -> Iterator[Finding]:
    for file in folder.versions:
        governing = file.data.governing
        said = file.data.determinations.original_medicare.covered
        if governing and governing.level == "plan_policy" and said is not Covered.CONDITIONAL:
            where = ("determinations", Program.ORIGINAL_MEDICARE.value, "covered")
            problem = f"says {said} for Original Medicare, but only a plan's policy was found"
            repair = "say conditional: a plan's policy is not Medicare's"
            yield file.finding(where, problem, repair)
