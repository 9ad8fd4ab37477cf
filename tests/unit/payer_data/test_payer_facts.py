"""What the payer knows goes before what the call tells, fact by fact."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from service.decision.facts import (
    APPROVAL,
    IS_APPROVED,
    NOT_TOLD,
    NOTHING,
    TABLE,
    Between,
    Fact,
    FactKind,
    FactSource,
    FactSpec,
    Family,
    Why,
)
from service.decision.payer_finding import (
    AuthorizationOnFile,
    AuthorizationStatus,
    PayerFinding,
    PayerOutcome,
)
from service.review.payer_facts import PLACE, with_payers_facts

MARCH, JUNE = date(2026, 3, 1), date(2026, 6, 1)
LAST = FactSpec(
    "last-test",
    FactKind.DAY,
    "the day of the last such test",
    (),
    may_be_nothing=True,
    source=FactSource(Family.PROCEDURE),
)


@dataclass(frozen=True)
class Told:
    """A call that tells one thing of everything."""

    fact: Fact

    @property
    def today(self) -> date:
        return JUNE

    def get(self, spec: FactSpec) -> Fact:
        return self.fact


def known(told: Fact, spec: FactSpec, **finding: Any) -> Fact:
    payer = PayerFinding(PayerOutcome.KNOWN, "of the test", **finding)
    return with_payers_facts(Told(told), payer).get(spec)


@pytest.mark.parametrize(
    ("told", "had_on", "history_known", "expected"),
    [
        (NOT_TOLD, (MARCH,), True, Fact(MARCH, (PLACE,))),
        (NOT_TOLD, (), True, Fact(NOTHING, (PLACE,))),
        (NOT_TOLD, (), False, NOT_TOLD),
        (
            NOT_TOLD,
            (MARCH,),
            False,
            Fact(Between(MARCH, None), (PLACE,), Why.NOT_TOLD),
        ),
        (Fact(JUNE), (MARCH,), True, Fact(JUNE)),
        (Fact(MARCH), (MARCH, JUNE), True, Fact(JUNE, (PLACE,))),
        (Fact(NOTHING), (MARCH,), True, Fact(MARCH, (PLACE,))),
        (Fact(NOTHING), (), False, Fact(NOTHING)),
    ],
)
def test_the_later_day_of_records_and_call_is_the_last(
    told: Fact, had_on: tuple[date, ...], history_known: bool, expected: Fact
) -> None:
    assert known(told, LAST, had_on=had_on, history_known=history_known) == expected


def test_an_approval_on_file_is_a_fact_with_its_number() -> None:
    approval = AuthorizationOnFile("PA-1", AuthorizationStatus.APPROVED, determination=False)
    for spec, value in ((TABLE[APPROVAL], "PA-1"), (TABLE[IS_APPROVED], True)):
        assert known(Fact(NOTHING), spec, authorization=approval) == Fact(value, (PLACE,))
    pending = AuthorizationOnFile("PA-1", AuthorizationStatus.PENDING, determination=False)
    assert known(Fact(False), TABLE[IS_APPROVED], authorization=pending) == Fact(False)


def test_a_coverage_that_the_payer_knows_is_in_force() -> None:
    assert known(Fact(False), TABLE["coverage.in_force"]) == Fact(True, (PLACE,))


@pytest.mark.parametrize("name", ["deceased", "hospice", "qmb"])
def test_a_situation_of_the_member_is_known_either_way(name: str) -> None:
    spec = TABLE[f"member.{name}"]
    assert known(NOT_TOLD, spec, situations=(name,)) == Fact(True, (PLACE,))
    assert known(NOT_TOLD, spec) == Fact(False, (PLACE,))


def test_what_the_records_do_not_tell_is_the_calls() -> None:
    assert known(Fact("female"), TABLE["patient.gender"]) == Fact("female")
    assert known(NOT_TOLD, TABLE["coverage.program"]) == NOT_TOLD


@pytest.mark.parametrize("outcome", [o for o in PayerOutcome if o is not PayerOutcome.KNOWN])
def test_of_whom_the_payer_does_not_know_all_facts_are_the_calls(outcome: PayerOutcome) -> None:
    told = Told(NOT_TOLD)
    assert with_payers_facts(told, PayerFinding(outcome, "of the test")) is told
    assert with_payers_facts(told, None) is told
