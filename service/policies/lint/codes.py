"""Rules about a policy's codes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from service.decision.order import Code
from service.errors import Finding
from service.policies.drafts import Draft, Drafts, code_of


def code_stands_once_in_a_version(drafts: Drafts) -> Iterator[Finding]:
    for draft in drafts.versions:
        seen: set[Code] = set()
        for g, group in enumerate(draft.data["services"]):
            for c, entry in enumerate(group["codes"]):
                if code_of(entry) in seen:
                    where = ("services", g, "codes", c, "code")
                    problem = f"{entry['code']} is listed twice"
                    yield draft.file.finding(where, problem, "leave one of the two")
                seen.add(code_of(entry))


def code_stands_in_one_policy_a_day(drafts: Drafts) -> Iterator[Finding]:
    by_code: dict[Code, list[Draft]] = {}
    for draft in drafts.versions:
        for code in draft.codes:
            by_code.setdefault(code, []).append(draft)
    for code, versions in by_code.items():
        for one, other in combinations(versions, 2):
            if one.folder != other.folder and one.overlaps(other):
                problem = f"{code.value} is also in {other.folder} on the same days"
                repair = "leave the code in one of the policies, or end one before the other starts"
                yield one.file.finding(("services",), problem, repair)
