"""Rule lists against brute force: every value that an unknown fact can have, one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from service.decision.conditions import (
    All,
    AnyOf,
    Condition,
    DayBase,
    Edge,
    InRange,
    InSets,
    InWindow,
    Is,
    Not,
    OneOf,
    Test,
    asked_in,
)
from service.decision.facts import (
    NOT_TOLD,
    NOTHING,
    ORDER_DAY,
    TABLE,
    Between,
    Fact,
    FactKind,
    FactSpec,
    Why,
)
from service.decision.order import Code
from service.decision.rules import Rule, RuleList, RuleLists
from service.decision.value_sets import CodeSpan, ValueSet, ValueSetEntry
from tests.unit.decision.told import TODAY, Told

DIAGNOSIS = FactSpec("diagnosis", FactKind.CODES, "", ())
SITE = FactSpec("site", FactKind.CODES, "", ())
LEVEL = FactSpec("level", FactKind.NUMBER, "", (), least=Decimal(0))
COUNT = FactSpec("count", FactKind.NUMBER, "", (), whole=True, least=Decimal(0))
SETTING = FactSpec("setting", FactKind.CHOICE, "", ())
GENDER = FactSpec("gender", FactKind.CHOICE, "", (), choices=frozenset({"f", "m"}))
FORM = FactSpec("form", FactKind.FLAG, "", ())
LAST = FactSpec("last", FactKind.DAY, "", (), may_be_nothing=True)
DAY = TABLE[ORDER_DAY]

CODES = ("0", "A", "A0", "A1", "A15", "A1Z", "A2", "A2Z", "A5", "B", "B1", "B5", "C")
NUMBERS = tuple(Decimal(n) / 4 for n in range(20))
"""One at each edge of a test, one between any two edges, and some beyond."""
DAYS = tuple(TODAY + timedelta(n) for n in range(-50, 30))
VALUES: Mapping[str, Sequence[object]] = {
    "level": NUMBERS,
    "count": tuple(n for n in NUMBERS if n == int(n)),
    "setting": ("home", "office", "elsewhere"),
    "gender": ("f", "m"),
    "form": (True, False),
    "last": (NOTHING, *DAYS),
}


# --- what a test means, said once more and as plainly as can be


def fulfilled(test: Test, value: object, service: date) -> bool:
    if isinstance(test, InSets):
        return any(in_set(s, code, service) for s in test.sets for code in value)  # type: ignore[attr-defined]
    if isinstance(test, OneOf):
        return value in test.values
    if value is NOTHING:
        return False
    if isinstance(test, InRange):
        above = test.low is None or (value > test.low if test.over else value >= test.low)  # type: ignore[operator]
        below = test.high is None or (value < test.high if test.under else value <= test.high)  # type: ignore[operator]
        return above and below
    first = test.first and day_of(test.first, service)
    last = test.last and day_of(test.last, service)
    return (first is None or value >= first) and (last is None or value <= last)  # type: ignore[operator]


def day_of(edge: Edge, service: date) -> date:
    if edge.day:
        return edge.day
    day = service if edge.base is DayBase.SERVICE else TODAY
    month = day.month - 1 + edge.months
    year, month = day.year + month // 12, month % 12 + 1
    while True:
        try:
            day = date(year, month, day.day)
            return day + timedelta(edge.days)
        except ValueError:
            day -= timedelta(1)


def in_set(value_set: ValueSet, code: str, service: date) -> bool:
    for entry in ENTRIES[value_set.id]:
        if not entry.first <= service <= entry.last:
            continue
        if isinstance(entry.what, Code):
            if entry.what.value == code:
                return True
        elif entry.what.first <= code and code[: len(entry.what.last)] <= entry.what.last:
            return True
    return False


def is_true(condition: Condition, world: Mapping[str, object]) -> bool:
    service = world[ORDER_DAY]
    assert isinstance(service, date)
    if isinstance(condition, Is):
        return fulfilled(condition.test, world[condition.fact.name], service)
    if isinstance(condition, Not):
        return not is_true(condition.of, world)
    if isinstance(condition, All):
        return all(is_true(c, world) for c in condition.of)
    return any(is_true(c, world) for c in condition.of)


def answer(rules: RuleList[str], world: Mapping[str, object]) -> str:
    return next((r.outcome for r in rules.rules if is_true(r.when, world)), rules.otherwise)


# --- what is tried

ENTRIES: dict[str, tuple[ValueSetEntry, ...]] = {}


def _set(id: str, *entries: ValueSetEntry) -> ValueSet:
    ENTRIES[id] = entries
    return ValueSet(id, entries)


def _code(value: str) -> Code:
    return Code("s", value)


LATER = TODAY + timedelta(2)
SETS = (
    _set("one", ValueSetEntry(_code("A1"))),
    _set("two", ValueSetEntry(_code("A1")), ValueSetEntry(_code("B1"))),
    _set("prefix", ValueSetEntry(CodeSpan("s", "A", "A"))),
    _set("longer", ValueSetEntry(CodeSpan("s", "A1", "A1"))),
    _set("range", ValueSetEntry(CodeSpan("s", "A1", "A2"))),
    _set("other", ValueSetEntry(_code("B1")), ValueSetEntry(CodeSpan("s", "C", "C"))),
    _set("wide", ValueSetEntry(CodeSpan("s", "A", "B"))),
    _set("new", ValueSetEntry(_code("A1"), first=LATER), ValueSetEntry(_code("A2"))),
    _set("ended", ValueSetEntry(CodeSpan("s", "B", "B"), last=TODAY)),
)
EDGES = (
    Edge(days=-30),
    Edge(days=-7),
    Edge(),
    Edge(months=-1),
    Edge(base=DayBase.TODAY),
    Edge(base=DayBase.TODAY, days=3),
    Edge(day=TODAY - timedelta(20)),
)
NUMBER = st.sampled_from([Decimal(1), Decimal(2), Decimal("2.5"), Decimal(3)])


SPECS = (DIAGNOSIS, SITE, LEVEL, COUNT, SETTING, GENDER, FORM, LAST, DAY)
TOGETHER = ((DIAGNOSIS,), (DIAGNOSIS, SITE), (DIAGNOSIS, FORM), (LAST, DAY), (LAST, LEVEL))


@st.composite
def atoms(draw: st.DrawFn, specs: Sequence[FactSpec]) -> Is:
    spec = draw(st.sampled_from(specs))
    if spec.kind is FactKind.CODES:
        return Is(
            spec, InSets(tuple(draw(st.lists(st.sampled_from(SETS), min_size=1, max_size=2))))
        )
    if spec is SETTING:
        return Is(spec, OneOf(frozenset(draw(st.sets(st.sampled_from(["home", "office"]))))))
    if spec is GENDER:
        return Is(spec, OneOf(frozenset(draw(st.sets(st.sampled_from(["f", "m"]))))))
    if spec is FORM:
        return Is(spec, OneOf(frozenset({draw(st.booleans())})))
    if spec.kind is FactKind.NUMBER:
        low, high = draw(st.none() | NUMBER), draw(st.none() | NUMBER)
        return Is(spec, InRange(low, high, draw(st.booleans()), draw(st.booleans())))
    edge = st.none() | st.sampled_from(EDGES)
    first, last = draw(edge), draw(edge)
    if spec is DAY:  # the day of service is not reckoned from itself
        first, last = (
            e if e is None or e.day or e.base is DayBase.TODAY else None for e in (first, last)
        )
    return Is(spec, InWindow(first, last))


def conditions(pool: list[Is]) -> st.SearchStrategy[Condition]:
    """Two or three parts, each a test or two of them, some of them turned round."""
    atom = st.sampled_from(pool)
    part = st.one_of(
        atom,
        atom.map(Not),
        st.tuples(atom, atom).map(All),
        st.tuples(atom, atom).map(AnyOf),
        st.tuples(atom, atom).map(AnyOf).map(Not),
    )
    parts = st.lists(part, min_size=2, max_size=3).map(tuple)
    return st.one_of(atom, parts.map(All), parts.map(AnyOf), st.just(All(())), st.just(AnyOf(())))


@dataclass
class Situation:
    rules: RuleList[str]
    told: dict[str, Fact]


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    # Few facts with many tests each: there the tests of one fact get into each other's way.
    specs = draw(
        st.sampled_from(TOGETHER)
        | st.lists(st.sampled_from(SPECS), min_size=1, max_size=3, unique=True)
    )
    pool = draw(st.lists(atoms(specs), min_size=2, max_size=6))
    rules = [
        Rule(str(i), draw(conditions(pool)), draw(st.sampled_from("abbc")))
        for i in range(draw(st.integers(2, 4)))
    ]
    told = {spec.name: draw(known(spec)) for spec in {t.fact.name: t.fact for t in pool}.values()}
    if ORDER_DAY not in told:
        told[ORDER_DAY] = draw(known(DAY))
    return Situation(RuleList(rules, "a"), told)


def known(spec: FactSpec) -> st.SearchStrategy[Fact]:
    """A fact known, partly known or unknown."""
    if spec is DAY:
        return st.integers(0, 6).map(
            lambda n: (
                Fact(Between(TODAY, TODAY + timedelta(n)), why=Why.NOT_READABLE)
                if n
                else Fact(TODAY)
            )
        )
    if spec.kind is FactKind.CODES:
        some = st.frozensets(st.sampled_from(CODES).map(_code), max_size=2)
        return st.one_of(
            st.just(NOT_TOLD),
            st.just(NOT_TOLD),
            some.map(Fact),
            some.map(lambda codes: Fact(codes, why=Why.NOT_REACHABLE)),
        )
    exact = st.sampled_from(VALUES[spec.name]).map(Fact)  # type: ignore[arg-type]
    if spec.kind in (FactKind.CHOICE, FactKind.FLAG):
        return st.just(NOT_TOLD) | exact
    values = [v for v in VALUES[spec.name] if v is not NOTHING]
    bounds = st.lists(st.sampled_from(values), min_size=2, max_size=2).map(sorted)  # type: ignore[type-var,arg-type]
    narrowed = bounds.map(lambda b: Fact(Between(*b), why=Why.NOT_READABLE))  # type: ignore[arg-type]
    return st.one_of(st.just(NOT_TOLD), st.just(NOT_TOLD), exact, narrowed)


def completions(spec: FactSpec, fact: Fact, most_codes: int) -> Iterator[object]:
    """Every value that a fact can still have; of codes, as many at once as there are tests."""
    if spec.kind is FactKind.CODES:
        told = frozenset(c.value for c in fact.value) if fact.value is not None else frozenset()  # type: ignore[union-attr]
        if fact.why is None:
            yield told
            return
        for size in range(most_codes + 1):
            yield from (told | set(more) for more in combinations(CODES, size))
        return
    if fact.why is None:
        yield fact.value
        return
    if isinstance(fact.value, Between):
        low, high = fact.value
        values = DAYS if spec is DAY else VALUES[spec.name]
        yield from (v for v in values if v is not NOTHING and low <= v <= high)  # type: ignore[operator]
        return
    yield from VALUES[spec.name]


@settings(max_examples=300)
@given(situations())
def test_outcomes_and_the_smallest_settling_set_are_those_of_every_completion(
    situation: Situation,
) -> None:
    rules, told = situation.rules, situation.told
    decision = rules.decide(Told(told))

    specs = {**rules.facts, ORDER_DAY: DAY}
    pool = list(_tests(rules))
    days = list(completions(DAY, told[ORDER_DAY], 0))
    choices: dict[str, list[object]] = {ORDER_DAY: days}
    for name, spec in specs.items():
        if name == ORDER_DAY:
            continue
        own = [t.test for t in pool if t.fact.name == name]
        seen: dict[tuple[bool, ...], object] = {}
        for value in completions(spec, told[name], min(len(own), 3)):
            # Values that no test of any day tells apart are one.
            seen.setdefault(
                tuple(fulfilled(t, value, d) for t in own for d in days),  # type: ignore[arg-type]
                value,
            )
        choices[name] = list(seen.values())
    names = list(choices)
    worlds = {
        picked: answer(rules, {n: choices[n][i] for n, i in zip(names, picked, strict=True)})
        for picked in product(*(range(len(choices[n])) for n in names))
    }

    assert decision.exact
    assert set(decision.outcomes) == set(worlds.values())
    settling = smallest_settling(names, worlds)
    assert len(settling) == 1, "independent facts have one smallest settling set"
    assert {m.spec.name for m in decision.missing} == settling[0]
    together = RuleLists([rules, rules])
    for _ in ("found", "remembered"):
        assert together.certain(Told(told)) == (decision.outcome, decision.outcome)


def smallest_settling(
    names: list[str], worlds: Mapping[tuple[int, ...], str]
) -> list[frozenset[str]]:
    """All smallest sets of facts that, whatever they turn out to be, leave one answer."""
    for size in range(len(names) + 1):
        found = [
            frozenset(names[i] for i in chosen)
            for chosen in combinations(range(len(names)), size)
            if _settles(chosen, worlds)
        ]
        if found:
            return found
    raise AssertionError("all facts together always settle it")


def _settles(chosen: tuple[int, ...], worlds: Mapping[tuple[int, ...], str]) -> bool:
    answers: dict[tuple[int, ...], str] = {}
    for picked, outcome in worlds.items():
        if answers.setdefault(tuple(picked[i] for i in chosen), outcome) != outcome:
            return False
    return True


def _tests(rules: RuleList[str]) -> Iterator[Is]:
    for rule in rules.rules:
        yield from asked_in(rule.when)


# DBG
