"""Rule lists: the first true rule decides, `otherwise` without one.

Where facts are unknown, an outcome is certain if every completion of them leads to it. Else the
decision names the outcomes that are still possible and the smallest set of facts that would settle
which. Conditions are compiled once, when a policy is read; a decision then costs microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Generic, NamedTuple, TypeVar

from service.decision.completions import (
    Expression,
    Open,
    Question,
    Ways,
    question_left,
    what_is_open,
)
from service.decision.conditions import (
    All,
    Concrete,
    Condition,
    DayBase,
    Edge,
    InSets,
    InWindow,
    Is,
    Not,
    Test,
    Truth,
    concrete,
    exact_value,
    shifted,
    ways,
)
from service.decision.facts import ORDER_DAY, TABLE, Between, Fact, FactKind, Facts, FactSpec

T = TypeVar("T")

_DAY = TABLE[ORDER_DAY]
_MOST_KEPT = 256
"""Cached days and open questions of each rule list."""
_FEW_DAYS = 10


@dataclass(frozen=True, slots=True)
class Rule(Generic[T]):
    """One rule: `outcome` applies if `when` is true and no earlier rule is."""

    id: str
    when: Condition
    outcome: T


class Tested(NamedTuple):
    """The outcome of a test, with its fact."""

    test: Is
    truth: Truth
    fact: Fact


class RuleResult(NamedTuple):
    """The outcome of a rule, with its tests, in sequence."""

    rule: str
    truth: Truth
    tests: tuple[Tested, ...]


class Missing(NamedTuple):
    """A decisive fact that is not fully known."""

    spec: FactSpec
    fact: Fact


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """Result of a rule list.

    `outcomes` are those still possible, in the order of the list; one alone is certain. `rule` is
    the id of the rule that decided, OTHERWISE, or None where several still can. `missing` is the
    smallest set of facts that would settle it, empty where the outcome is certain. `results` are of
    the rules that were come to. `exact` is False where more was unknown than could be looked at:
    the two sets may then be larger than they need to be.
    """

    outcomes: tuple[T, ...]
    rule: str | None
    missing: tuple[Missing, ...] = ()
    results: tuple[RuleResult, ...] = field(default=(), compare=False)
    exact: bool = True

    @property
    def certain(self) -> bool:
        return len(self.outcomes) == 1

    @property
    def outcome(self) -> T | None:
        """The certain outcome, or None."""
        return self.outcomes[0] if len(self.outcomes) == 1 else None


OTHERWISE = "otherwise"


class _Frame(NamedTuple):
    """The tests of a rule list on the days that the day of service can be.

    `numbers` has each test's number on each day, `questions` the rules over these. `of_the_day` is
    what the day itself settles; `not_told` keeps what an unknown fact leaves open.
    """

    numbers: tuple[tuple[int, ...], ...]
    questions: tuple[Question, ...]
    of_fact: Mapping[str, Sequence[tuple[int, Concrete]]]
    of_the_day: Mapping[int, bool]
    not_told: dict[str, tuple[Mapping[int, bool], Ways | None]]


class RuleList(Generic[T]):
    """Rules in their order, compiled. Outcomes are compared by equality and must be hashable.

    Safe to share between threads: what it keeps is only ever replaced by equal values.
    """

    def __init__(self, rules: Iterable[Rule[T]], otherwise: T) -> None:
        self.rules = tuple(rules)
        self.otherwise = otherwise
        answers: dict[T, int] = {}
        for outcome in (*(r.outcome for r in self.rules), otherwise):
            answers.setdefault(outcome, len(answers))
        self._outcomes = tuple(answers)
        atoms: dict[tuple[str, Test], int] = {}
        tests: list[Is] = []
        question: list[tuple[Expression, int]] = []
        self._tests_of: list[tuple[tuple[Is, int], ...]] = []
        for rule in self.rules:
            own: list[tuple[Is, int]] = []
            question.append((_compiled(rule.when, atoms, tests, own), answers[rule.outcome]))
            self._tests_of.append(tuple(own))
        self._question: Question = (*question, (True, answers[otherwise]))
        self._tests = tuple(tests)
        self._facts = {t.fact.name: t.fact for t in tests}
        self._by_day = any(
            isinstance(t.test, InWindow) or (isinstance(t.test, InSets) and _dated(t.test))
            for t in tests
        )
        self._of_a_day: dict[tuple[date, date] | None, tuple[Concrete, ...]] = {}
        self._of_codes: dict[tuple[Concrete, ...], frozenset[int]] = {}
        self._frames: dict[tuple[tuple[date, ...], date] | None, _Frame] = {}
        self._open: dict[object, Open] = {}

    @property
    def facts(self) -> Mapping[str, FactSpec]:
        """The facts in the rules, by name, in the sequence of their first use."""
        return self._facts

    @property
    def tests(self) -> Sequence[Is]:
        """The tests in the rules, equal ones once."""
        return self._tests

    @property
    def turns_on_the_day(self) -> bool:
        """Whether a test is another one on another day of service or of the call."""
        return self._by_day

    def conditions(self) -> Iterator[tuple[str, str]]:
        """Every rule's id with each of its tests in words, as often as they are written."""
        for rule, tests in zip(self.rules, self._tests_of, strict=True):
            yield from ((rule.id, test.words) for test, _ in tests)

    def warm(self, today: date) -> None:
        """Precompute the intersections of large value sets, outside of calls."""
        for fact in self._facts.values():
            if fact.kind is FactKind.CODES:
                plan = self._plan(today, today)
                own = [plan[i] for i, t in enumerate(self._tests) if t.fact == fact]
                self._ways(fact, Fact(), own)

    def decide(self, facts: Facts) -> Decision[T]:
        """Decide by the facts, each read only if a reached rule depends on it."""
        day = facts.get(_DAY)
        if not isinstance(day.value, date):
            return self._decide_openly(facts, day)
        plan = self._plan(day.value, facts.today)
        truths: list[Truth] = [None] * len(plan)
        known: dict[str, Fact] = {}
        results: list[RuleResult] = []
        for rule, (expression, answer), tests in zip(
            self.rules, self._question, self._tests_of, strict=False
        ):
            tested = []
            for test, i in tests:
                spec = test.fact
                fact = known.get(spec.name)
                if fact is None:
                    fact = known[spec.name] = facts.get(spec)
                    if fact.why is not None or fact.value.__class__ is Between:
                        return self._decide_openly(facts, day)
                truth = truths[i]
                if truth is None:
                    truth = truths[i] = plan[i].holds(fact.value)
                tested.append(Tested(test, truth, fact))
            truth = _truth(expression, truths)
            results.append(RuleResult(rule.id, truth, tuple(tested)))
            if truth:
                return Decision((self._outcomes[answer],), rule.id, (), tuple(results))
        return Decision((self.otherwise,), OTHERWISE, (), tuple(results))

    def _decide_openly(self, facts: Facts, day: Fact) -> Decision[T]:
        """Decide where something is unknown: rule by rule, until one is true on every day."""
        frame = self._frame(self._days(facts, day), facts.today)
        truths = dict(frame.of_the_day)
        unknown: dict[str, Ways] = {}
        told: dict[str, Fact] = {ORDER_DAY: day}
        results: list[RuleResult] = []
        for rule, (expression, _), tests in zip(
            self.rules, self._question, self._tests_of, strict=False
        ):
            for test, _i in tests:
                name = test.fact.name
                if name not in told:
                    fact = told[name] = facts.get(test.fact)
                    certain, ways = self._put(test.fact, fact, frame)
                    truths.update(certain)
                    if ways is not None:
                        unknown[name] = ways
            on_days = [[truths.get(n) for n in own] for own in frame.numbers]
            truth = _agreed([_truth(expression, on_day) for on_day in on_days])
            results.append(
                RuleResult(
                    rule.id,
                    truth,
                    tuple(
                        Tested(t, _agreed([d[i] for d in on_days]), told[t.fact.name])
                        for t, i in tests
                    ),
                )
            )
            if truth:
                break
        questions = tuple(dict.fromkeys(question_left(q, truths) for q in frame.questions))
        left = self._left(questions, unknown)
        missing = tuple(Missing(self._facts.get(f, _DAY), told[f]) for f in left.facts)
        outcomes = tuple(self._outcomes[a] for a in left.answers)
        return Decision(
            outcomes, self._decisive(results, outcomes), missing, tuple(results), left.exact
        )

    def _left(self, questions: tuple[Question, ...], unknown: Mapping[str, Ways]) -> Open:
        key = (questions, tuple(unknown.items()))
        left = self._open.get(key)
        if left is None:
            if len(self._open) >= _MOST_KEPT:
                self._open.clear()
            left = self._open[key] = what_is_open(questions, ORDER_DAY, unknown)
        return left

    def _decisive(self, results: Sequence[RuleResult], outcomes: tuple[T, ...]) -> str | None:
        """The rule that decided, where only one can have."""
        if len(outcomes) > 1:
            return None
        possible = [r for r in results if r.truth is not False]
        if not possible:
            return OTHERWISE
        return possible[0].rule if possible[0].truth else None

    def _put(
        self, spec: FactSpec, fact: Fact, frame: _Frame
    ) -> tuple[Mapping[int, bool], Ways | None]:
        """Put a fact to all of its tests: what comes out for certain, and what stays open."""
        own = frame.of_fact[spec.name]
        if exact_value(fact):
            return {number: test.holds(fact.value) for number, test in own}, None
        if fact.value is not None:
            return self._narrowed(spec, fact, own)
        found = frame.not_told.get(spec.name)
        if found is None:
            found = frame.not_told[spec.name] = self._narrowed(spec, fact, own)
        return found

    def _narrowed(
        self, spec: FactSpec, fact: Fact, own: Sequence[tuple[int, Concrete]]
    ) -> tuple[Mapping[int, bool], Ways | None]:
        possible = self._ways(spec, fact, [test for _, test in own])
        many = spec.kind is FactKind.CODES
        certain: dict[int, bool] = {}
        still: list[int] = []
        bits: list[int] = []
        for bit, (number, test) in enumerate(own):
            fulfilled = sum(way >> bit & 1 for way in possible)
            if many and fact.value is not None and test.holds(fact.value):
                certain[number] = True
            elif not fulfilled:
                certain[number] = False
            elif not many and fulfilled == len(possible):
                certain[number] = True
            else:
                still.append(number)
                bits.append(bit)
        if not still:
            return certain, None
        left = frozenset(
            sum((way >> bit & 1) << i for i, bit in enumerate(bits)) for way in possible
        )
        return certain, Ways(tuple(still), left, many)

    def _frame(self, days: tuple[date, ...], today: date) -> _Frame:
        """Every test on every day that the day of service can be, numbered: equal ones alike."""
        key = (days, today) if self._by_day else None
        frame = self._frames.get(key)
        if frame is None:
            if len(self._frames) >= _MOST_KEPT:
                self._frames.clear()
            frame = self._frames[key] = self._framed(days, today)
        return frame

    def _framed(self, days: tuple[date, ...], today: date) -> _Frame:
        numbers: dict[tuple[str, object], int] = {}
        of_fact: dict[str, list[tuple[int, Concrete]]] = {}
        of_the_day: dict[int, bool] = {}
        by_day: list[tuple[int, ...]] = []
        for service in days:
            own: list[int] = []
            for test, fixed in zip(self._tests, self._plan(service, today), strict=True):
                name = test.fact.name
                key = (name, (fixed, service) if name == ORDER_DAY else fixed)
                number = numbers.get(key)
                if number is None:
                    number = numbers[key] = len(numbers)
                    if name == ORDER_DAY:
                        of_the_day[number] = fixed.holds(service)
                    else:
                        of_fact.setdefault(name, []).append((number, fixed))
                own.append(number)
            by_day.append(tuple(own))
        return _Frame(
            numbers=tuple(by_day),
            questions=tuple(_numbered(self._question, own) for own in by_day),
            of_fact=of_fact,
            of_the_day=of_the_day,
            not_told={},
        )

    def _ways(self, spec: FactSpec, fact: Fact, tests: list[Concrete]) -> frozenset[int]:
        if spec.kind is not FactKind.CODES:
            return ways(spec, fact, tests)
        key = tuple(tests)
        found = self._of_codes.get(key)
        if found is None:
            if len(self._of_codes) >= _MOST_KEPT:
                self._of_codes.clear()
            found = self._of_codes[key] = ways(spec, fact, tests)
        return found

    def _plan(self, service: date, today: date) -> tuple[Concrete, ...]:
        """Every test as it is on a day."""
        key = (service, today) if self._by_day else None
        plan = self._of_a_day.get(key)
        if plan is None:
            if len(self._of_a_day) >= _MOST_KEPT:
                self._of_a_day.clear()
            plan = tuple(concrete(t.test, service, today) for t in self._tests)
            self._of_a_day[key] = plan
        return plan

    def _days(self, facts: Facts, day: Fact) -> tuple[date, ...]:
        """Days that stand for all that the day of service can be.

        They lie on both sides of every day on which a test of a known fact changes.
        """
        if isinstance(day.value, date):
            return (day.value,)
        low, high = day.value if isinstance(day.value, Between) else (None, None)
        first = low if isinstance(low, date) else facts.today
        last = high if isinstance(high, date) else max(first, facts.today)
        if not self._by_day:
            return (first,)
        if (last - first).days <= _FEW_DAYS:
            return tuple(first + timedelta(n) for n in range((last - first).days + 1))
        near = {d for d in self._turning_days(facts) if first <= d <= last}
        middle = first + (last - first) / 2
        found = {first, first + timedelta(1), middle, last - timedelta(1), last, *near}
        return tuple(sorted(found))

    def _turning_days(self, facts: Facts) -> Iterator[date]:
        marks = {facts.today}
        moved: set[Edge] = set()
        for test in self._tests:
            if isinstance(test.test, InSets):
                for value_set in test.test.sets:
                    marks.update(value_set.edges)
            if not isinstance(test.test, InWindow):
                continue
            value = facts.get(test.fact).value if test.fact.name != ORDER_DAY else None
            for told in value if isinstance(value, Between) else (value,):
                if isinstance(told, date):
                    marks.add(told)
            for edge in (test.test.first, test.test.last):
                if edge is None:
                    continue
                if edge.day is None and edge.base is DayBase.SERVICE:
                    moved.add(edge)
                else:
                    marks.add(edge.on(facts.today, facts.today))
        for mark in marks:
            for edge in (Edge(), *moved):
                turn = shifted(mark, -edge.months, -edge.days)
                yield from (shifted(turn, 0, n) for n in range(-3, 4))


class RuleLists(Generic[T]):
    """Rule lists that are asked together, and mostly in vain, such as a notice's situations.

    Each fact is read once for all of them, and what the truths of all tests lead to is remembered.
    Safe to share between threads, as a rule list is.
    """

    def __init__(self, lists: Sequence[RuleList[T]]) -> None:
        self._lists = tuple(lists)
        tests: dict[str, dict[Test, None]] = {}
        self._facts: dict[str, FactSpec] = {}
        for rules in self._lists:
            self._facts.update(rules.facts)
            for test in rules.tests:
                tests.setdefault(test.fact.name, {})[test.test] = None
        self._tests = [(self._facts[name], tuple(of_fact)) for name, of_fact in tests.items()]
        self._by_day = any(rules.turns_on_the_day for rules in self._lists)
        self._of_a_day: dict[object, Sequence[tuple[FactSpec, Sequence[Concrete]]]] = {}
        self._certain: dict[tuple[object, tuple[Truth, ...]], tuple[T | None, ...]] = {}

    def certain(self, facts: Facts) -> tuple[T | None, ...]:
        """The certain outcome of each list, or None: as `decide` has it, without its grounds."""
        day = facts.get(_DAY).value
        if not isinstance(day, date):
            return self._decided(facts)
        of_day = (day, facts.today) if self._by_day else None
        truths: list[Truth] = []
        for spec, tests in self._of_a_day.get(of_day) or self._fixed(of_day, day, facts.today):
            fact = facts.get(spec)
            value = fact.value
            if fact.why is None and value.__class__ is not Between:
                truths += [test.holds(value) for test in tests]
            elif value is None:
                truths.append(None)  # of every test of it alike
            else:
                return self._decided(facts)  # narrowed down: the truths alone do not tell
        key = of_day, tuple(truths)
        found = self._certain.get(key)
        if found is None:
            if len(self._certain) >= _MOST_KEPT:
                self._certain.clear()
            found = self._certain[key] = self._decided(facts)
        return found

    def _decided(self, facts: Facts) -> tuple[T | None, ...]:
        return tuple([rules.decide(facts).outcome for rules in self._lists])

    def _fixed(
        self, key: object, day: date, today: date
    ) -> Sequence[tuple[FactSpec, Sequence[Concrete]]]:
        """Every fact with its tests as they are on a day."""
        if len(self._of_a_day) >= _MOST_KEPT:
            self._of_a_day.clear()
        found = [
            (spec, tuple(concrete(test, day, today) for test in tests))
            for spec, tests in self._tests
        ]
        self._of_a_day[key] = found
        return found


def holds(rules: RuleList[bool], facts: Facts) -> Truth:
    """The truth of a condition made by `condition`; None if it is open."""
    return rules.decide(facts).outcome


def condition(when: Condition) -> RuleList[bool]:
    """A condition by itself, as a list of one rule."""
    return RuleList([Rule("when", when, True)], otherwise=False)


def _compiled(
    condition: Condition,
    atoms: dict[tuple[str, Test], int],
    tests: list[Is],
    own: list[tuple[Is, int]],
) -> Expression:
    if isinstance(condition, Is):
        key = (condition.fact.name, condition.test)
        if key not in atoms:
            atoms[key] = len(tests)
            tests.append(condition)
        own.append((condition, atoms[key]))
        return atoms[key]
    if isinstance(condition, Not):
        return ("not", (_compiled(condition.of, atoms, tests, own),))
    operator = "all" if isinstance(condition, All) else "any"
    return (operator, tuple(_compiled(part, atoms, tests, own) for part in condition.of))


def _truth(expression: Expression, truths: Sequence[Truth]) -> Truth:
    """Kleene's value of an expression."""
    if isinstance(expression, bool):
        return expression
    if isinstance(expression, int):
        return truths[expression]
    operator, parts = expression
    if operator == "not":
        truth = _truth(parts[0], truths)
        return None if truth is None else not truth
    decisive = operator == "any"
    result: Truth = not decisive
    for part in parts:
        truth = _truth(part, truths)
        if truth is decisive:
            return decisive
        if truth is None:
            result = None
    return result


def _numbered(question: Question, numbers: Sequence[int]) -> Question:
    return tuple((_renamed(e, numbers), answer) for e, answer in question)


def _renamed(expression: Expression, numbers: Sequence[int]) -> Expression:
    if isinstance(expression, bool):
        return expression
    if isinstance(expression, int):
        return numbers[expression]
    operator, parts = expression
    return operator, tuple(_renamed(p, numbers) for p in parts)


def _agreed(truths: Sequence[Truth]) -> Truth:
    """The truth that holds on all days, None where they differ."""
    first = truths[0]
    return first if all(t is first for t in truths) else None


def _dated(test: InSets) -> bool:
    return any(s.edges for s in test.sets)
