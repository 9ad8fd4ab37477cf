"""Which Medicare programme a coverage belongs to: told by Coverage.type, else by the payer's file.

An identifier in the shape of a Medicare number says nothing here: members of Medicare Advantage
have one too. ActCode values (MCPOL, PUBLICPOL, EHCPOL …) cannot tell the two programmes apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.decision.coverage import Coverage
from service.decision.policy import Programme

SOURCE_OF_PAYMENT = "https://nahdo.org/sopt"

MEDICARE_ADVANTAGE_TYPES = frozenset({"11", "111", "112", "113", "119"})
ORIGINAL_MEDICARE_TYPES = frozenset({"12", "121"})
OTHER_MEDICARE_TYPES = frozenset({"1", "13", "14", "19", "123", "129"})
"""Medicare without saying which."""


@dataclass(frozen=True, slots=True)
class ProgrammeFinding:
    """Which programme, read from "Coverage.type", "line of business" or "nothing"."""

    programme: Programme
    source: str
    evidence: str


def find_programme(coverage: Coverage | None) -> ProgrammeFinding:
    """Read the programme from a coverage: its type first, its payer's line of business second.

    Types of both programmes at once contradict each other: then nothing is told. Nor is it by a
    type outside Medicare, which contradicts whatever line of business its payer has.
    """
    if coverage is None:
        return ProgrammeFinding(Programme.NOT_TOLD, "nothing", "no usable coverage")
    types = {c.value for c in coverage.type_codes if c.system == SOURCE_OF_PAYMENT}
    advantage = sorted(types & MEDICARE_ADVANTAGE_TYPES)
    original = sorted(types & ORIGINAL_MEDICARE_TYPES)
    if advantage and original:
        both = ", ".join(advantage + original)
        return ProgrammeFinding(
            Programme.NOT_TOLD, "Coverage.type", f"contradictory types of payment: {both}"
        )
    if advantage or original:
        programme = Programme.MEDICARE_ADVANTAGE if advantage else Programme.ORIGINAL_MEDICARE
        evidence = f"type of payment {', '.join(advantage or original)}"
        return ProgrammeFinding(programme, "Coverage.type", evidence)
    others = sorted(types - OTHER_MEDICARE_TYPES)
    if others:
        evidence = f"type of payment {', '.join(others)} is none of Medicare's"
        return ProgrammeFinding(Programme.NOT_TOLD, "Coverage.type", evidence)
    if coverage.payer is not None and coverage.payer.line_of_business is not Programme.NOT_TOLD:
        return ProgrammeFinding(
            coverage.payer.line_of_business,
            "line of business",
            f"payers file, {coverage.payer.identifier}",
        )
    return ProgrammeFinding(
        Programme.NOT_TOLD, "nothing", "neither Coverage.type nor the payer's line of business"
    )
