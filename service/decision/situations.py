"""Situations: where a notice is not given, or is given with a sentence more.

When they hold is data of the notice's file, as conditions over facts. An unknown fact leaves a
situation out: a notice is kept from a patient only where the reason is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from service.decision.conditions import Condition
from service.decision.facts import NOT_TOLD, Fact, Facts, FactSpec
from service.decision.payer_finding import PayerFinding, PayerOutcome
from service.decision.rules import Rule, RuleList, RuleResult

PAYERS_FACT = "member."
"""The beginning of the name of a fact that only the payer's own records tell."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A situation of a notice; the notice is `given` all the same, or not.

    `on_file_counts` says whether a form of the notice that was completed in time counts, although
    the notice is given no more.
    """

    id: str
    rule: RuleList[bool]
    given: bool = False
    on_file_counts: bool = False


def situation(id: str, when: Condition, *, given: bool, on_file_counts: bool = False) -> Situation:
    """The situation that holds where the condition is true."""
    return Situation(id, RuleList([Rule(id, when, True)], False), given, on_file_counts)


class SituationFound(NamedTuple):
    """A situation that holds: its notice and its id, whether the notice is given, and whether a
    form on file counts where it is not.
    """

    notice: str
    id: str
    given: bool
    on_file_counts: bool = False


Situations = Mapping[str, Sequence[Situation]]
"""The situations of each notice, by the notice's id."""


def situations_of(
    notices: Sequence[str], situations: Situations, facts: Facts
) -> Iterator[tuple[SituationFound, RuleResult]]:
    """Each situation of the notices that certainly holds, with the conditions that made it so."""
    for notice in notices:
        for each in situations.get(notice, ()):
            if each.rule.certain(facts):
                found = SituationFound(notice, each.id, each.given, each.on_file_counts)
                yield found, each.rule.decide(facts).results[0]


@dataclass(frozen=True, slots=True)
class FactsWithRecords:
    """The facts of a call, and those that the payer's own records tell."""

    told: Facts
    payer: PayerFinding | None

    @property
    def today(self) -> date:
        """The day of the call in the service's time zone."""
        return self.told.today

    def get(self, spec: FactSpec) -> Fact:
        """The fact, from the records where only they tell it; never an exception."""
        if not spec.name.startswith(PAYERS_FACT):
            return self.told.get(spec)
        if self.payer is None or self.payer.outcome is not PayerOutcome.KNOWN:
            return self.told.get(spec) if self.payer is None else NOT_TOLD
        held = spec.name.removeprefix(PAYERS_FACT) in self.payer.situations
        return Fact(held, ("the payer's records",))
