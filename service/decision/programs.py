"""Medicare program of a coverage: by Coverage.type, else by the payers file.

An identifier in the form of a Medicare number is no evidence: members of Medicare Advantage have
one too. ActCode values (MCPOL, PUBLICPOL, EHCPOL …) do not distinguish the programs.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.decision.coverage import Coverage
from service.decision.policy import Program

SOURCE_OF_PAYMENT = "https://nahdo.org/sopt"

MEDICARE_ADVANTAGE_TYPES = frozenset({"11", "111", "112", "113", "119"})
ORIGINAL_MEDICARE_TYPES = frozenset({"12", "121"})
OTHER_MEDICARE_TYPES = frozenset({"1", "13", "14", "19", "123", "129"})
"""Medicare without a program."""


@dataclass(frozen=True, slots=True)
class ProgramFinding:
    """A program with its source: "Coverage.type", "line of business" or "nothing"."""

    program: Program
    source: str
    evidence: str


def find_program(coverage: Coverage | None) -> ProgramFinding:
    """The program of a coverage: by its type, else by its payer's line of business.

    Unknown for types of both programs, and for a type outside Medicare, which contradicts the
    payer's line of business.
    """
    if coverage is None:
        return ProgramFinding(Program.UNKNOWN, "nothing", "no usable coverage")
    types = {c.value for c in coverage.type_codes if c.system == SOURCE_OF_PAYMENT}
    advantage = sorted(types & MEDICARE_ADVANTAGE_TYPES)
    original = sorted(types & ORIGINAL_MEDICARE_TYPES)
    if advantage and original:
        both = ", ".join(advantage + original)
        return ProgramFinding(
            Program.UNKNOWN, "Coverage.type", f"contradictory types of payment: {both}"
        )
    if advantage or original:
        program = Program.MEDICARE_ADVANTAGE if advantage else Program.ORIGINAL_MEDICARE
        evidence = f"type of payment {', '.join(advantage or original)}"
        return ProgramFinding(program, "Coverage.type", evidence)
    others = sorted(types - OTHER_MEDICARE_TYPES)
    if others:
        evidence = f"type of payment {', '.join(others)} is none of Medicare's"
        return ProgramFinding(Program.UNKNOWN, "Coverage.type", evidence)
    if coverage.payer is not None and coverage.payer.line_of_business is not Program.UNKNOWN:
        return ProgramFinding(
            coverage.payer.line_of_business,
            "line of business",
            f"payers file, {coverage.payer.identifier}",
        )
    return ProgramFinding(
        Program.UNKNOWN, "nothing", "neither Coverage.type nor the payer's line of business"
    )
