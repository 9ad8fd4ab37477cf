"""Programs: the one that pays, told by Coverage.type and by the payer's line of business.

Which type of payment belongs to which program is data (`ProgramTable`). An identifier in the shape
of a Medicare number says nothing here: members of Medicare Advantage have one too. ActCode values
(MCPOL, PUBLICPOL, EHCPOL …) cannot tell the two kinds of Medicare apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from service.decision.facts import Facts
from service.decision.order import Code
from service.decision.policy import Program
from service.decision.rules import RuleList, RuleLists

SOURCE_OF_PAYMENT = "https://nahdo.org/sopt"


class Pays(StrEnum):
    """Scope of payment of a program's coverage; of several coverages the medical one is asked."""

    MEDICAL = "medical"
    SUPPLEMENT = "supplement"
    """What another coverage leaves open."""
    DRUGS = "drugs"
    """Drugs only: never the coverage of a service."""


@dataclass(frozen=True, slots=True)
class ProgramEntry:
    """One program of the table.

    `id` is what the payers file calls it, `name` what people do. `words_for` says which of a
    policy's words are for it. `types` are Source of Payment codes; one that ends with "*" stands
    for every code that begins like it, and the longest that fits counts. `when` is a condition over
    the coverage's own facts: where it holds, it tells the program in place of the types.
    """

    id: str
    name: str
    words_for: Program
    types: tuple[str, ...] = ()
    pays: Pays = Pays.MEDICAL
    when: RuleList[bool] | None = None


@dataclass(frozen=True, slots=True)
class ProgramFinding:
    """Program that pays, read from "Coverage.type", "Coverage" (by a condition of the table),
    "line of business" or "nothing".

    `entry` is its line of the table, None where nothing or nothing certain is told.
    `contradictory` is True where two of them are told: then `program` is UNKNOWN.
    """

    program: Program
    source: str
    evidence: str
    entry: ProgramEntry | None = None
    contradictory: bool = False

    @property
    def pays(self) -> Pays:
        """The coverage's scope of payment; medical care where nothing else is told."""
        return self.entry.pays if self.entry else Pays.MEDICAL


NOTHING_TOLD = ProgramFinding(
    Program.UNKNOWN, "nothing", "neither Coverage.type nor the payer's line of business"
)
NO_COVERAGE = ProgramFinding(Program.UNKNOWN, "nothing", "no usable coverage")


class ProgramTable:
    """The programs, found by their id or by a type of payment."""

    def __init__(self, entries: Iterable[ProgramEntry]) -> None:
        self._entries = {entry.id: entry for entry in entries}
        conditions = [(e, e.when) for e in self._entries.values() if e.when is not None]
        self._with_condition = [entry for entry, _ in conditions]
        self._conditions = RuleLists([when for _, when in conditions])
        self._by_code: dict[str, ProgramEntry] = {}
        self._by_beginning: dict[str, ProgramEntry] = {}
        for entry in self._entries.values():
            for written in entry.types:
                if not written.endswith("*"):
                    self._by_code.setdefault(written, entry)
                elif written != "*":
                    self._by_beginning.setdefault(written[:-1], entry)
        self._lengths = sorted({len(b) for b in self._by_beginning}, reverse=True)

    def __iter__(self) -> Iterator[ProgramEntry]:
        return iter(self._entries.values())

    def get(self, program_id: str) -> ProgramEntry | None:
        """The program of this id, None if there is none."""
        return self._entries.get(program_id)

    def of_type(self, code: str) -> ProgramEntry | None:
        """The program of a type of payment; None for a type that the table does not have."""
        found = self._by_code.get(code)
        if found is None:
            for length in self._lengths:  # the longest beginning that fits counts
                found = self._by_beginning.get(code[:length])
                if found is not None:
                    break
        return found

    def find(
        self,
        types: Sequence[Code],
        line_of_business: str = Program.UNKNOWN,
        named: Iterable[str] = (),
        payer: str = "",
        facts: Facts | None = None,
    ) -> ProgramFinding:
        """The program that a coverage's types and its payer tell together.

        `line_of_business` and `named`, the programs that the payer's entry names at its policies,
        are ids of the table; `payer` is its name for the trace. `facts` are those that the
        coverage tells by itself: a program whose condition holds is told before all else. A type of
        Medicare without saying which leaves it to the line of business. Two programs at once, or a
        type of another program than the payer has, contradict each other: then nothing is told, and
        that is said.
        """
        if facts is not None and self._with_condition:
            by_condition = self._by_conditions(facts)
            if by_condition is not None:
                return by_condition
        told = {c.value: self.of_type(c.value) for c in types if c.system == SOURCE_OF_PAYMENT}
        codes = ", ".join(sorted(told))
        found = {e.id: e for e in told.values() if e and e.words_for is not Program.UNKNOWN}
        medical = {i: e for i, e in found.items() if e.pays is Pays.MEDICAL}
        found = medical or found
        own = self.get(line_of_business)
        if own is not None and own.words_for is Program.UNKNOWN:
            own = None
        if len({_in_common(e) for e in found.values()}) > 1:
            return _contradiction(f"contradictory types of payment: {codes}")
        if not found:
            if own is not None:
                return ProgramFinding(
                    own.words_for, "line of business", f"payers file, {payer}", own
                )
            unsaid = f"type of payment {codes} does not say which program" if codes else ""
            return ProgramFinding(
                Program.UNKNOWN,
                "Coverage.type" if codes else "nothing",
                unsaid or NOTHING_TOLD.evidence,
                next((e for e in told.values() if e), None),
            )
        entry = next(iter(found.values()))
        known = {*named, *([own.id] if own else ())}
        if own is not None and entry.pays is Pays.MEDICAL and not self._fits(entry, known):
            evidence = f"type of payment {codes} is {entry.name}; payers file, {payer}: {own.name}"
            return _contradiction(evidence)
        return ProgramFinding(
            entry.words_for, "Coverage.type", f"type of payment {codes}: {entry.name}", entry
        )

    def _by_conditions(self, facts: Facts) -> ProgramFinding | None:
        """The program whose condition certainly holds; None where none does."""
        holding = zip(self._with_condition, self._conditions.certain(facts), strict=True)
        met = [entry for entry, holds in holding if holds]
        if not met:
            return None
        conditions = [entry.when for entry in met if entry.when is not None]
        tests = (test for when in conditions for test in when.decide(facts).results[0].tests)
        words = "; ".join(dict.fromkeys(t.test.words for t in tests if t.truth))
        names = " and ".join(entry.name for entry in met)
        if len({_in_common(entry) for entry in met}) > 1:
            return _contradiction(f"contradictory programs: {names} ({words})")
        entry = met[0]
        return ProgramFinding(entry.words_for, "Coverage", f"{words}: {entry.name}", entry)

    def _fits(self, entry: ProgramEntry, known: Iterable[str]) -> bool:
        """Whether a program is one of those of a payer; all kinds of one of Medicare's are one."""
        of_payer = [e for e in map(self.get, known) if e]
        return any(e.id == entry.id or _in_common(e) == _in_common(entry) for e in of_payer)


def _in_common(entry: ProgramEntry) -> str:
    """Key that two types of payment share where they do not contradict each other."""
    return entry.id if entry.words_for is Program.NOT_MEDICARE else entry.words_for


def _contradiction(evidence: str) -> ProgramFinding:
    return ProgramFinding(Program.UNKNOWN, "Coverage.type", evidence, contradictory=True)
