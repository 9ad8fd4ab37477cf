"""Completions of unknown facts: the possible answers, and the facts that decide among them.

A question is a list of expressions over numbered tests, each with the answer it leads to; the first
true one decides. Each unknown fact has several tests, and `Ways` says which of them it can fulfill
together. Facts vary independently of each other. Thus exactly one smallest set of facts settles a
question: those on which its answer depends at all. Any set without one of them leaves a completion
of the others in which that one still changes the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

Expression = bool | int | tuple[str, tuple["Expression", ...]]
"""A truth value, a test's number, or ("all" | "any" | "not", parts)."""
Question = tuple[tuple[Expression, int], ...]
"""Expressions with the numbers of their answers; the last one is True."""

MOST_STEPS = 2000
"""Cases looked at for one decision. More would cost a call more than exactness is worth."""


class Ways(NamedTuple):
    """Joint outcomes of the tests of an unknown fact.

    `tests` are their numbers; each of `ways` has bit i set where the i-th test is fulfilled. A fact
    with `many` values at once, as codes, fulfills what any of them does.
    """

    tests: tuple[int, ...]
    ways: frozenset[int]
    many: bool = False

    def possible(self, true: int, false: int) -> bool:
        """Whether the fact can fulfill all tests in `true` and none in `false`, both as bits."""
        if not self.many:
            return any(way & true == true and not way & false for way in self.ways)
        reached = 0
        for way in self.ways:
            if not way & false:
                reached |= way
        return reached & true == true


class Open(NamedTuple):
    """An open question: the numbers of the possible answers, and the decisive facts.

    `answers` are ascending; one alone is certain, and `facts` are then empty. `exact` is False
    where there were too many cases to look at: both may then name more than there is, never less.
    """

    answers: tuple[int, ...]
    facts: tuple[str, ...]
    exact: bool = True


def simplified(expression: Expression, truths: Mapping[int, bool]) -> Expression:
    """An expression after the outcomes of some tests."""
    if isinstance(expression, bool):
        return expression
    if isinstance(expression, int):
        return truths.get(expression, expression)
    operator, parts = expression
    if operator == "not":
        part = simplified(parts[0], truths)
        return not part if isinstance(part, bool) else ("not", (part,))
    decisive = operator == "any"
    left: list[Expression] = []
    for part in parts:
        part = simplified(part, truths)
        if part is decisive:
            return decisive
        if not isinstance(part, bool) and part not in left:
            left.append(part)
    if not left:
        return not decisive
    return left[0] if len(left) == 1 else (operator, tuple(left))


def question_left(question: Question, truths: Mapping[int, bool]) -> Question:
    """A question after the outcomes of some tests."""
    left: list[tuple[Expression, int]] = []
    for expression, answer in question:
        expression = simplified(expression, truths)
        if expression is False:
            continue
        left.append((expression, answer))
        if expression is True:
            break
    # A rule before the end that leads where the end leads decides nothing.
    while len(left) > 1 and left[-2][1] == left[-1][1]:
        del left[-2]
    return tuple(left)


def what_is_open(
    questions: tuple[Question, ...], day_fact: str, unknown: Mapping[str, Ways]
) -> Open:
    """The answers still possible, and the smallest set of facts that would settle which.

    `questions` are the same question on the days that the day of service can be; where they differ,
    `day_fact` is unknown too. `unknown` has the ways of every other unknown fact.
    """
    try:
        search = _Search(unknown)
        answers = sorted({a for q in questions for a in search.answers(q)})
        if len(answers) == 1:
            return Open((answers[0],), ())
        facts = [f for f in unknown if any(search.matters(f, q) for q in questions)]
        if len(questions) > 1 and search.differ(questions):
            facts.append(day_fact)
        return Open(tuple(answers), tuple(facts))
    except _TooManyCases:
        fact_of = {test: fact for fact, ways in unknown.items() for test in ways.tests}
        named = {fact_of[t] for q in questions for e, _ in q for t in _tests(e)}
        at_most = sorted({answer for q in questions for _, answer in q})
        facts = [f for f in unknown if f in named]
        if len(questions) > 1:
            facts.append(day_fact)
        return Open(tuple(at_most), tuple(facts), exact=False)


class _TooManyCases(Exception):
    pass


_Taken = Mapping[str, tuple[int, int]]
"""By fact, the tests taken as true and as false, as bits."""


class _Search:
    """Case analysis test by test, without impossible cases."""

    def __init__(self, unknown: Mapping[str, Ways]) -> None:
        self._unknown = unknown
        self._at = {
            test: (fact, 1 << bit)
            for fact, ways in unknown.items()
            for bit, test in enumerate(ways.tests)
        }
        self._steps = 0
        self._answers: dict[object, frozenset[int]] = {}

    def answers(self, question: Question, taken: _Taken | None = None) -> frozenset[int]:
        """The answers of all completions."""
        taken = taken or {}
        test = _first_test(question)
        if test is None:
            return frozenset({question[0][1]})
        key = (question, self._of_use(question, taken))
        found = self._answers.get(key)
        if found is None:
            found = frozenset().union(
                *(self.answers(left, more) for left, more in self._cases(question, test, taken))
            )
            self._answers[key] = found
        return found

    def matters(self, fact: str, question: Question) -> bool:
        """Whether there is a completion of the other facts in which `fact` changes the answer."""
        own = frozenset(self._unknown[fact].tests)
        seen: set[object] = set()

        def search(question: Question, taken: _Taken) -> bool:
            left = list(_tests_of(question))
            if not own.intersection(left):
                return False
            other = next((t for t in left if t not in own), None)
            if other is None:
                return len(self.answers(question)) > 1
            key = (question, self._of_use(question, taken))
            if key in seen:
                return False
            seen.add(key)
            return any(search(q, t) for q, t in self._cases(question, other, taken))

        return search(question, {})

    def differ(self, questions: tuple[Question, ...]) -> bool:
        """Whether there is a completion in which the questions have different answers."""
        seen: set[object] = set()

        def search(questions: tuple[Question, ...], taken: _Taken) -> bool:
            if len(set(questions)) == 1:
                return False
            test = next((t for q in questions for t in _tests_of(q)), None)
            if test is None:
                return len({q[0][1] for q in questions}) > 1
            key = (questions, frozenset(taken.items()))
            if key in seen:
                return False
            seen.add(key)
            for value, more in self._outcomes(test, taken):
                left = tuple(question_left(q, {test: value}) for q in questions)
                if search(left, more):
                    return True
            return False

        return search(questions, {})

    def _cases(
        self, question: Question, test: int, taken: _Taken
    ) -> Iterator[tuple[Question, _Taken]]:
        for value, more in self._outcomes(test, taken):
            yield question_left(question, {test: value}), more

    def _outcomes(self, test: int, taken: _Taken) -> Iterator[tuple[bool, _Taken]]:
        """The possible outcomes of a test, given the assumptions."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise _TooManyCases
        fact, bit = self._at[test]
        true, false = taken.get(fact, (0, 0))
        possible = self._unknown[fact].possible
        if possible(true | bit, false):
            yield True, {**taken, fact: (true | bit, false)}
        if possible(true, false | bit):
            yield False, {**taken, fact: (true, false | bit)}

    def _of_use(self, question: Question, taken: _Taken) -> frozenset[object]:
        """The assumptions on the question's facts."""
        facts = {self._at[t][0] for t in _tests_of(question)}
        return frozenset((f, taken[f]) for f in facts if f in taken)


def _first_test(question: Question) -> int | None:
    return next(_tests_of(question), None)


def _tests_of(question: Question) -> Iterator[int]:
    for expression, _ in question:
        yield from _tests(expression)


def _tests(expression: Expression) -> Iterator[int]:
    if isinstance(expression, bool):
        return
    if isinstance(expression, int):
        yield expression
        return
    for part in expression[1]:
        yield from _tests(part)
