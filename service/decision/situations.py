"""Situations: where a notice is not given, or is given with a sentence more.

When they hold is data of the notice's file, as conditions over facts. An unknown fact leaves a
situation out: a notice is kept from a patient only where the reason is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from service.decision.conditions import Condition
from service.decision.facts import Facts
from service.decision.rules import Rule, RuleList, RuleLists, RuleResult


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


class Situations:
    """The situations of each notice, by the notice's id, as they are on one day."""

    def __init__(self, by_notice: Mapping[str, Sequence[Situation]]) -> None:
        self._by_notice = by_notice
        self._asked: dict[tuple[str, ...], _Asked] = {}

    def of(
        self, notices: tuple[str, ...], facts: Facts
    ) -> Sequence[tuple[SituationFound, RuleResult]]:
        """The situations of the notices that certainly hold, each with its conditions."""
        asked = self._asked.get(notices)
        if asked is None:
            # A program of a policy has one list of notices: there are as many as these.
            asked = self._asked[notices] = _Asked(notices, self._by_notice)
        return asked.held(facts)


class _Asked:
    """The situations of notices that go with one answer, put to an order together."""

    def __init__(
        self, notices: Sequence[str], by_notice: Mapping[str, Sequence[Situation]]
    ) -> None:
        self._situations = [(n, s) for n in notices for s in by_notice.get(n, ())]
        self._conditions = RuleLists([s.rule for _, s in self._situations])

    def held(self, facts: Facts) -> Sequence[tuple[SituationFound, RuleResult]]:
        if not self._situations:
            return ()
        holding = self._conditions.certain(facts)
        if not any(holding):
            return ()
        return [
            (
                SituationFound(notice, each.id, each.given, each.on_file_counts),
                each.rule.decide(facts).results[0],
            )
            for (notice, each), holds in zip(self._situations, holding, strict=True)
            if holds
        ]


NO_SITUATIONS = Situations({})
