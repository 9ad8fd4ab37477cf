"""Facts of an order as the payer's own records complete and correct those of the call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from service.decision.facts import (
    APPROVAL,
    DECISION,
    DECISION_DAY,
    DECISION_NUMBER,
    IS_APPROVED,
    NOTHING,
    Between,
    Fact,
    Facts,
    FactSource,
    FactSpec,
    Family,
)
from service.decision.payer_finding import PayerFinding, PayerOutcome

PLACE = "the payer's records"

_YES, _NO = Fact(True, (PLACE,)), Fact(False, (PLACE,))


@dataclass(frozen=True, slots=True)
class PayerFacts:
    """The decision's `Facts`: the payer's where its records tell them, else the call's.

    `finding` is of the same order, and its outcome KNOWN.
    """

    told: Facts
    finding: PayerFinding
    today: date

    def get(self, spec: FactSpec) -> Fact:
        """The fact with its value or the reason for which it is unknown; never an exception."""
        source = spec.source
        if source is None:
            reader = _READERS.get(spec.name)
            fact = reader(self.finding) if reader is not None else None
            return self.told.get(spec) if fact is None else fact
        if source.family is Family.PROCEDURE and source.codes is None:
            return self._last_had(self.told.get(spec), source)
        return self.told.get(spec)

    def _last_had(self, told: Fact, source: FactSource) -> Fact:
        """The last day of the policy's own service: the later one of records and call.

        Where the payer keeps no history, an older day of the records narrows down what the call
        does not tell.
        """
        days = self.finding.had_on
        ours = Fact(days[-1] if days else NOTHING, (PLACE,))
        later = isinstance(told.value, date) and (not days or told.value > days[-1])
        if told.known and (later or not days):
            return told
        if told.known or self.finding.history_known:
            return ours
        return told._replace(value=Between(days[-1], None), places=(PLACE,)) if days else told


def with_payers_facts(told: Facts, finding: PayerFinding | None) -> Facts:
    """The facts of an order, completed where the payer knows member and coverage."""
    if finding is None or finding.outcome is not PayerOutcome.KNOWN:
        return told
    return PayerFacts(told, finding, told.today)


def _approval(finding: PayerFinding) -> Fact | None:
    return Fact(finding.approved.number, (PLACE,)) if finding.approved else None


def _approved(finding: PayerFinding) -> Fact | None:
    return _YES if finding.approved else None


def _decision(finding: PayerFinding) -> Fact | None:
    """The decision on file, before that of the call."""
    found = finding.authorization
    return Fact(found.status.value, (PLACE,)) if found else None


def _decision_number(finding: PayerFinding) -> Fact | None:
    found = finding.authorization
    return Fact(found.number, (PLACE,)) if found else None


def _decision_day(finding: PayerFinding) -> Fact | None:
    found = finding.authorization
    return Fact(found.decided or NOTHING, (PLACE,)) if found else None


def _program(finding: PayerFinding) -> Fact | None:
    return Fact(finding.program.words_for.value, (PLACE,)) if finding.program else None


def _in_force(finding: PayerFinding) -> Fact:
    return _YES


def _deceased(finding: PayerFinding) -> Fact | None:
    return _YES if "deceased" in finding.situations else None


def _situation(name: str) -> Callable[[PayerFinding], Fact | None]:
    return lambda finding: _YES if name in finding.situations else _NO


_READERS: Mapping[str, Callable[[PayerFinding], Fact | None]] = {
    APPROVAL: _approval,
    IS_APPROVED: _approved,
    DECISION: _decision,
    DECISION_NUMBER: _decision_number,
    DECISION_DAY: _decision_day,
    "coverage.program": _program,
    "coverage.in_force": _in_force,
    "patient.deceased": _deceased,
    **{f"member.{name}": _situation(name) for name in ("deceased", "hospice", "qmb")},
}
