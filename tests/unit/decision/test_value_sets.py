"""Value sets: which codes belong, on which day, and what several sets share."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from service.decision.order import Code
from service.decision.units import convert, is_known
from service.decision.value_sets import CodeSpan, ValueSet, ValueSetEntry, memberships

DAY = date(2026, 6, 15)


def code(value: str) -> Code:
    return Code("icd", value)


def test_a_range_holds_every_code_that_begins_like_its_ends_or_between() -> None:
    cancers = ValueSet("cancers", [ValueSetEntry(CodeSpan("icd", "C00", "C97"))])
    inside = ["C00", "C00.0", "C50.911", "C97", "C97.9"]
    outside = ["B99.9", "D00.0", "C98", "C", "c50"]
    assert [v for v in inside + outside if cancers.holds(code(v), DAY)] == inside
    assert not cancers.holds(Code("snomed", "C50.911"), DAY)


def test_a_code_belongs_from_its_first_day_to_its_last() -> None:
    period = ValueSetEntry(code("A1"), date(2026, 1, 1), date(2026, 12, 31))
    again = ValueSetEntry(code("A1"), date(2028, 1, 1))
    dated = ValueSet("dated", [period, again])
    days = {
        date(2025, 12, 31): False,
        date(2026, 1, 1): True,
        date(2026, 12, 31): True,
        date(2027, 1, 1): False,
        date(2028, 1, 1): True,
    }
    assert {d: dated.holds(code("A1"), d) for d in days} == days


def test_days_of_one_epoch_have_the_same_codes() -> None:
    dated = ValueSet("dated", [ValueSetEntry(code("A1"), date(2026, 1, 1), date(2026, 12, 31))])
    epochs = [dated.epoch(d) for d in (date(2025, 12, 31), date(2026, 1, 1), date(2026, 12, 31))]
    assert epochs == [0, 1, 1]
    assert dated.epoch(date(2027, 1, 1)) == 2


def test_memberships_are_all_the_ways_in_which_a_code_can_lie_in_sets() -> None:
    a = ValueSet("a", [ValueSetEntry(code("A1")), ValueSetEntry(code("B1"))])
    b = ValueSet("b", [ValueSetEntry(CodeSpan("icd", "A", "A"))])
    disjoint = ValueSet("disjoint", [ValueSetEntry(Code("snomed", "1"))])
    within = memberships([(a, DAY), (b, DAY), (disjoint, DAY)])
    assert within == {0b000, 0b001, 0b010, 0b011, 0b100}


def test_memberships_look_at_the_day() -> None:
    new = ValueSet("new", [ValueSetEntry(code("A1"), first=date(2026, 7, 1))])
    old = ValueSet("old", [ValueSetEntry(code("A1"))])
    assert memberships([(new, DAY), (old, DAY)]) == {0b00, 0b10}
    assert memberships([(new, date(2026, 7, 1)), (old, DAY)]) == {0b00, 0b11}
    assert memberships([(new, DAY)]) == {0}


def test_its_lines_tell_their_systems_and_number() -> None:
    both = ValueSet(
        "both", [ValueSetEntry(code("A1")), ValueSetEntry(CodeSpan("snomed", "1", "2"))]
    )
    assert (len(both), both.systems) == (2, {"icd", "snomed"})


@pytest.mark.parametrize(
    ("value", "unit", "to", "expected"),
    [
        ("55", "mm[Hg]", "mm[Hg]", "55"),
        ("0.88", "1", "%", "88.00"),
        ("2", "wk", "d", "14"),
        ("1", "m", "cm", "100"),
        ("3", "{tests}", "1", "3"),
        ("88", "%", "mm[Hg]", None),
        ("2", "furlong", "cm", None),
    ],
)
def test_values_are_converted_within_their_dimension(
    value: str, unit: str, to: str, expected: str | None
) -> None:
    assert convert(Decimal(value), unit, to) == (Decimal(expected) if expected else None)


def test_kilopascal_and_mercury_agree_on_the_oxygen_limit() -> None:
    converted = convert(Decimal("7.33"), "kPa", "mm[Hg]")
    assert converted is not None
    assert round(converted, 1) == Decimal("55.0")


def test_units_outside_the_list_are_unknown() -> None:
    assert is_known("mm[Hg]")
    assert is_known("{score}")
    assert not is_known("furlong")
