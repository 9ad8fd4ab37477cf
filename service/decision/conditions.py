"""Conditions over facts: a closed vocabulary as data, with three truth values (Kleene).

A condition is true, false, or unknown (None) where facts that it turns on are. Each test says which
values of its fact fulfill it, as a region of all that the fact can be; what several tests of one
fact can be together is reckoned from these regions, never test by test (see `completions`).
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from service.decision.facts import NOTHING, Between, Fact, FactKind, FactSpec
from service.decision.value_sets import ValueSet, memberships

Truth = bool | None


class DayBase(StrEnum):
    """Base day of an edge."""

    SERVICE = "service"
    TODAY = "today"


class Edge(NamedTuple):
    """A fixed day, or a number of months and days after `base` (before it, if negative)."""

    day: date | None = None
    base: DayBase = DayBase.SERVICE
    months: int = 0
    days: int = 0

    def on(self, service: date, today: date) -> date:
        """The day itself, for a day of service and a day of the call."""
        if self.day is not None:
            return self.day
        start = service if self.base is DayBase.SERVICE else today
        return shifted(start, self.months, self.days)

    def moved(self, days: int) -> Edge:
        """So many days later, or earlier where negative."""
        if self.day is not None:
            return Edge(day=shifted(self.day, 0, days))
        return self._replace(days=self.days + days)


def shifted(day: date, months: int, days: int = 0) -> date:
    """`day` moved by months, to the month's last day where there is no such day, then by days."""
    if months:
        year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
        if not date.min.year <= year <= date.max.year:
            return date.min if year < date.min.year else date.max
        last = calendar.monthrange(year, month + 1)[1]
        day = date(year, month + 1, min(day.day, last))
    if not days:
        return day
    try:
        return day + timedelta(days)
    except OverflowError:
        return date.min if days < 0 else date.max


# --- what is written


@dataclass(frozen=True, slots=True)
class InSets:
    """One of the fact's codes is in one of the value sets."""

    sets: tuple[ValueSet, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """The fact's word, or yes or no, is one of these."""

    values: frozenset[str | bool]


@dataclass(frozen=True, slots=True)
class InRange:
    """The fact's number lies from `low` to `high`, in the fact's unit; None is no bound.

    `over` and `under` leave the bound itself out.
    """

    low: Decimal | None = None
    high: Decimal | None = None
    over: bool = False
    under: bool = False


@dataclass(frozen=True, slots=True)
class InWindow:
    """The fact's day lies from `first` to `last`, both inclusive; None is no bound.

    An age is such a window of the day of birth: see `age`.
    """

    first: Edge | None = None
    last: Edge | None = None


def age(at_least: int | None = None, below: int | None = None) -> InWindow:
    """The patient has completed `at_least` years on the day of service, and not yet `below`."""
    return InWindow(
        first=None if below is None else Edge(months=-12 * below, days=1),
        last=None if at_least is None else Edge(months=-12 * at_least),
    )


Test = InSets | OneOf | InRange | InWindow


@dataclass(frozen=True, slots=True)
class Is:
    """A fact fulfills a test. `words` say so to people ("age is at least 45")."""

    fact: FactSpec
    test: Test
    words: str = ""


@dataclass(frozen=True, slots=True)
class All:
    """All conditions are true; true without any."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the conditions is true; false without any."""

    of: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The condition is false."""

    of: Condition


Condition = Is | All | AnyOf | Not


def asked_in(condition: Condition) -> Iterator[Is]:
    """The tests in a condition, as written."""
    if isinstance(condition, Is):
        yield condition
    elif isinstance(condition, Not):
        yield from asked_in(condition.of)
    else:
        for part in condition.of:
            yield from asked_in(part)


def fits(spec: FactSpec, test: Test) -> bool:
    """Whether a test applies to facts of this kind."""
    return isinstance(test, _TEST_OF[spec.kind])


_TEST_OF: dict[FactKind, type[Test]] = {
    FactKind.CODES: InSets,
    FactKind.CHOICE: OneOf,
    FactKind.FLAG: OneOf,
    FactKind.NUMBER: InRange,
    FactKind.DAY: InWindow,
    FactKind.AGE: InWindow,
}


# --- what it comes to on one day


class SetsOn(NamedTuple):
    """`InSets` on a day; two days of one stretch (`ValueSet.epoch`) make equal tests."""

    sets: tuple[ValueSet, ...]
    epochs: tuple[int, ...]
    day: date

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SetsOn) and self[:2] == other[:2]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:2])

    def holds(self, value: object) -> bool:
        """Whether one of the codes known is in one of the sets."""
        if not isinstance(value, frozenset):
            return False
        for value_set in self.sets:
            for code in value:
                if value_set.holds(code, self.day):
                    return True
        return False


class Interval(NamedTuple):
    """Numbers or days; None is no bound, `over` and `under` leave the bound itself out."""

    low: Decimal | date | None
    high: Decimal | date | None
    over: bool = False
    under: bool = False

    def holds(self, value: object) -> bool:
        """Whether a number or day lies in it; False for NOTHING."""
        if value is NOTHING:
            return False
        low, high = self.low, self.high
        if low is not None and (value < low or (self.over and value == low)):  # type: ignore[operator]
            return False
        return high is None or value < high or (value == high and not self.under)  # type: ignore[operator]


class Words(NamedTuple):
    """`OneOf` as it is."""

    values: frozenset[str | bool]

    def holds(self, value: object) -> bool:
        """Whether the value is one of them; False for NOTHING."""
        return value in self.values


Concrete = SetsOn | Interval | Words


def concrete(test: Test, service: date, today: date) -> Concrete:
    """A test, its windows and value sets fixed for a day of service and a day of the call."""
    if isinstance(test, InSets):
        return SetsOn(test.sets, tuple(s.epoch(service) for s in test.sets), service)
    if isinstance(test, OneOf):
        return Words(test.values)
    if isinstance(test, InRange):
        return Interval(test.low, test.high, test.over, test.under)
    return Interval(
        test.first.on(service, today) if test.first else None,
        test.last.on(service, today) if test.last else None,
    )


def exact_value(fact: Fact) -> bool:
    """Whether a fact has one value and no other."""
    return fact.why is None and not isinstance(fact.value, Between)


def points(spec: FactSpec, fact: Fact, tests: Iterable[Concrete]) -> list[object]:
    """Values that stand for all that a number, a day, a word or a flag can still be.

    Between two neighboring edges of the tests every value fulfills the same of them: one of each
    stretch is enough.
    """
    if exact_value(fact):
        return [fact.value]
    nothing: list[object] = [NOTHING] if spec.may_be_nothing and fact.value is None else []
    if spec.kind is FactKind.FLAG:
        return [True, False]
    if spec.kind is FactKind.CHOICE:
        if spec.choices is not None:
            return [*sorted(spec.choices), *nothing]
        words = {w for t in tests if isinstance(t, Words) for w in t.values}
        return [*words, _OTHER, *nothing]
    edges = {e for t in tests if isinstance(t, Interval) for e in (t.low, t.high) if e is not None}
    low, high = fact.value if isinstance(fact.value, Between) else (spec.least, None)
    if spec.kind is FactKind.NUMBER:
        return [*_numbers(edges, low, high, spec.whole), *nothing]  # type: ignore[arg-type]
    return [*_days(edges, low, high), *nothing]  # type: ignore[arg-type]


_OTHER = object()
"""A word outside all tests."""
_ONE = Decimal(1)


def _numbers(
    edges: set[Decimal], low: Decimal | None, high: Decimal | None, whole: bool
) -> Iterator[Decimal]:
    marks = sorted({*edges, *(b for b in (low, high) if b is not None)}) or [Decimal(0)]
    if whole:
        near = {m.to_integral_value() + d for m in marks for d in (-_ONE, Decimal(0), _ONE)}
        candidates = sorted(near)
    else:
        middles = [(a + b) / 2 for a, b in pairwise(marks)]
        candidates = [marks[0] - 1, *marks, *middles, marks[-1] + 1]
    for value in candidates:
        if (low is None or value >= low) and (high is None or value <= high):
            yield value


def _days(edges: set[date], low: date | None, high: date | None) -> Iterator[date]:
    marks = {*edges, *(b for b in (low, high) if b is not None)} or {date(2000, 1, 1)}
    for day in sorted({shifted(m, 0, d) for m in marks for d in (-1, 0, 1)}):
        if (low is None or day >= low) and (high is None or day <= high):
            yield day


def ways(spec: FactSpec, fact: Fact, tests: list[Concrete]) -> frozenset[int]:
    """Every way in which one value (for CODES: one code) fulfills some of the tests, as bits."""
    if spec.kind is not FactKind.CODES:
        found = set()
        for value in points(spec, fact, tests):
            way = 0
            for i, test in enumerate(tests):
                if test.holds(value):
                    way |= 1 << i
            found.add(way)
        return frozenset(found)
    sets: list[tuple[ValueSet, date]] = []
    owner: list[int] = []
    for i, test in enumerate(tests):
        if isinstance(test, SetsOn):
            for value_set in test.sets:
                sets.append((value_set, test.day))
                owner.append(i)
    found = set()
    for membership in memberships(sets):
        way = 0
        for bit, i in enumerate(owner):
            if membership >> bit & 1:
                way |= 1 << i
        found.add(way)
    return frozenset(found)
