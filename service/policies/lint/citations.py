"""Rules about citations: every one named exists once, and every one listed is used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from service.errors import Finding
from service.policies.drafts import Draft, Drafts
from service.policies.files import Where


def citations_resolve(drafts: Drafts) -> Iterator[Finding]:
    for draft in drafts.versions:
        for where, name in _uses(draft):
            if name not in draft.citations:
                problem = f"{name} is not among the citations"
                yield draft.file.finding(where, problem, "add it to citations, or mend the name")


def citations_stand_once(drafts: Drafts) -> Iterator[Finding]:
    for draft in drafts.versions:
        for name, times in Counter(c["id"] for c in draft.data["citations"]).items():
            if times > 1:
                problem = f"{name} is listed {times} times"
                yield draft.file.finding(("citations",), problem, "leave one of them")


def citations_are_used(drafts: Drafts) -> Iterator[Finding]:
    for draft in drafts.versions:
        used = {name for _, name in _uses(draft)}
        for i, citation in enumerate(draft.data["citations"]):
            if citation["id"] not in used:
                problem = f"{citation['id']} is used nowhere"
                repair = "cite it in a reason, an authority or related, or remove it"
                yield draft.file.finding(("citations", i, "id"), problem, repair)


def _uses(draft: Draft) -> Iterator[tuple[Where, str]]:
    data = draft.data
    for i, authority in enumerate(data["authorities"]):
        if "found" in authority:
            yield ("authorities", i, "found"), authority["found"]
    for program, determination in data["determinations"].items():
        for i, name in enumerate(determination["reason"]["citations"]):
            yield ("determinations", program, "reason", "citations", i), name
    for i, name in enumerate(data.get("related", ())):
        yield ("related", i), name
