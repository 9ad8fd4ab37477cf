"""Rules about the payers file."""

from __future__ import annotations

from collections.abc import Iterator

from service.errors import Finding
from service.policies.drafts import Drafts
from service.policies.files import LibraryFile


def duplicate_payers(payers: LibraryFile) -> Iterator[Finding]:
    seen: set[tuple[str, str]] = set()
    for i, payer in enumerate(payers.data["payers"]):
        listed = "identifiers" in payer
        for j, identifier in enumerate(payer["identifiers"] if listed else [payer["identifier"]]):
            told = (identifier["system"], identifier["value"])
            if told in seen:
                place = ("payers", i, "identifiers", j) if listed else ("payers", i, "identifier")
                problem = f"{told[0]}|{told[1]} stands for two payers"
                yield payers.finding(place, problem, "give each its own")
            seen.add(told)


def unknown_policies(payers: LibraryFile, drafts: Drafts) -> Iterator[Finding]:
    for i, payer in enumerate(payers.data["payers"]):
        for j, policy in enumerate(payer["policies"]):
            if policy["id"] not in drafts.policies:
                problem = f"{payer['name']} names the policy {policy['id']}, which is not on file"
                repair = (
                    f"name one of {', '.join(sorted(drafts.policies)) or 'the policies on file'}"
                )
                yield payers.finding(("payers", i, "policies", j, "id"), problem, repair)


def policies_are_applied(payers: LibraryFile, drafts: Drafts) -> Iterator[Finding]:
    """A policy that no payer lists answers for nobody; it may be one that is still to come."""
    applied = {policy["id"] for payer in payers.data["payers"] for policy in payer["policies"]}
    for policy in sorted(drafts.policies.keys() - applied):
        problem = f"no payer applies the policy {policy}: nobody is answered by it"
        repair = f'add "- id: {policy}" to the policies of each payer that does'
        yield payers.finding(("payers",), problem, repair, warning=True)
