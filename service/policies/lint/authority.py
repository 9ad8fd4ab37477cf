"""Rules about authority: what was searched, in which order, and what a determination may say of it.

No "covered" and no "not covered" without an authority that carries it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.decision.policy import Covered, Program
from service.errors import Finding
from service.policies.drafts import Draft, Drafts

LEVELS = ("ncd", "lcd", "other_lcd", "plan_policy")


def authorities_are_in_order(drafts: Drafts) -> Iterator[Finding]:
    for draft in drafts.versions:
        ranks = [LEVELS.index(a["level"]) for a in draft.data["authorities"]]
        if ranks != sorted(set(ranks)):
            repair = f"list each level once, in this order: {', '.join(LEVELS)}"
            yield draft.file.finding(("authorities",), "levels are out of order", repair)


def determination_has_an_authority(drafts: Drafts) -> Iterator[Finding]:
    for draft in drafts.versions:
        if _governing(draft) is None:
            said = {d["covered"] for d in draft.data["determinations"].values()}
            problem = f"no authority was found, yet the answers are {', '.join(sorted(said))}"
            repair = "name the authority found, or remove the policy: nothing carries its answers"
            yield draft.file.finding(("determinations",), problem, repair)


def determination_cites_its_authority(drafts: Drafts) -> Iterator[Finding]:
    for draft in drafts.versions:
        governing = _governing(draft)
        for program, determination in draft.data["determinations"].items():
            settled = determination["covered"] != Covered.CONDITIONAL
            cited = determination["reason"]["citations"]
            if governing and settled and governing["found"] not in cited:
                where = ("determinations", program, "reason", "citations")
                problem = f"the governing authority, {governing['found']}, is not cited"
                yield draft.file.finding(where, problem, f"add {governing['found']}")


def plan_policy_does_not_decide_for_medicare(drafts: Drafts) -> Iterator[Finding]:
    for draft in drafts.versions:
        governing = _governing(draft)
        said = draft.data["determinations"][Program.ORIGINAL_MEDICARE]["covered"]
        if governing and governing["level"] == "plan_policy" and said != Covered.CONDITIONAL:
            where = ("determinations", Program.ORIGINAL_MEDICARE.value, "covered")
            problem = f"says {said} for Original Medicare, but only a plan's policy was found"
            yield draft.file.finding(
                where, problem, "say conditional: a plan's policy is not Medicare's"
            )


def _governing(draft: Draft) -> dict[str, Any] | None:
    return next((a for a in draft.data["authorities"] if "found" in a), None)
