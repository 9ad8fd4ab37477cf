"""Value sets: dated sets of codes, prefixes and ranges, compiled for look-up.

A single code costs one look-up, whether the set holds three or 50,000. Codes are in their canonical
form; ICD-10-CM's have their dot.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import NamedTuple

from service.decision.order import Code

Period = tuple[date, date]
"""First and last day, both inclusive."""


class CodeSpan(NamedTuple):
    """Every code of a system from `first` to `last`, both with all codes that begin like them.

    A prefix is a span from itself to itself: C50 to C50 holds C50.911.
    """

    system: str
    first: str
    last: str

    def holds(self, code: Code) -> bool:
        """Whether the code lies in the span."""
        system, value = code
        return (
            system == self.system and value >= self.first and value[: len(self.last)] <= self.last
        )


class ValueSetEntry(NamedTuple):
    """One line of a value set: a code or a span of codes, and the days on which it belongs."""

    what: Code | CodeSpan
    first: date = date.min
    last: date = date.max


class ValueSet:
    """A dated set of codes under a name.

    `id` is "" for one that a condition writes out itself. Immutable once made; compared and hashed
    by what it is, not by what it holds, so that holding it in a key costs nothing.
    """

    __slots__ = ("_codes", "_edges", "_spans", "id", "title")

    def __init__(self, id: str, entries: Iterable[ValueSetEntry], title: str = "") -> None:
        codes: dict[Code, tuple[Period, ...]] = {}
        spans: list[tuple[CodeSpan, Period]] = []
        edges: set[date] = set()
        periods: dict[Period, tuple[Period, ...]] = {}
        for what, first, last in entries:
            only = periods.get((first, last))
            if only is None:
                # Most lines of a set share their days: one tuple serves them all.
                only = periods[first, last] = ((first, last),)
                if first != date.min:
                    edges.add(first)
                if last != date.max:
                    edges.add(date.fromordinal(last.toordinal() + 1))
            if isinstance(what, CodeSpan):
                spans.append((what, only[0]))
            else:
                codes[what] = (*codes[what], *only) if what in codes else only
        self.id = id
        self.title = title or id
        self._codes = codes
        self._spans = tuple(spans)
        self._edges = tuple(sorted(edges))

    def __len__(self) -> int:
        """The number of its lines, of all days."""
        return len(self._codes) + len(self._spans)

    def holds(self, code: Code, day: date) -> bool:
        """Whether `code` belongs to the set on `day`."""
        for first, last in self._codes.get(code, ()):
            if first <= day <= last:
                return True
        if not self._spans:
            return False
        return any(s.holds(code) and first <= day <= last for s, (first, last) in self._spans)

    def epoch(self, day: date) -> int:
        """The number of the stretch of days, counted from 0, in which `day` lies.

        Within one the set never changes.
        """
        return bisect_right(self._edges, day)

    def entries(self) -> Iterator[ValueSetEntry]:
        """Its lines, codes before spans."""
        for code, periods in self._codes.items():
            yield from (ValueSetEntry(code, first, last) for first, last in periods)
        for span, (first, last) in self._spans:
            yield ValueSetEntry(span, first, last)

    @property
    def edges(self) -> tuple[date, ...]:
        """Every first day of another stretch."""
        return self._edges

    def codes_on(self, day: date) -> Iterator[Code]:
        """The single codes of the day; spans are not written out."""
        for code, periods in self._codes.items():
            if any(first <= day <= last for first, last in periods):
                yield code

    def spans_on(self, day: date) -> Iterator[CodeSpan]:
        """The spans of the day."""
        for span, (first, last) in self._spans:
            if first <= day <= last:
                yield span

    @property
    def systems(self) -> frozenset[str]:
        """The code systems that its lines are of."""
        singles = {code.system for code in self._codes}
        return frozenset(singles | {span.system for span, _ in self._spans})


def memberships(sets: Sequence[tuple[ValueSet, date]]) -> frozenset[int]:
    """Every way in which one code can belong to some of the sets and not to the others.

    Each set is taken on the day beside it; a way has bit i set where the i-th set holds the code.
    0, a code in none of them, is always one. A system's codes are thought of as all strings, in
    their order, so a span always holds more codes than those written out.
    """
    if len(sets) == 1:
        value_set, day = sets[0]
        empty = not any(value_set.codes_on(day)) and not any(value_set.spans_on(day))
        return frozenset({0}) if empty else frozenset({0, 1})
    ways: set[int] = {0}
    of_codes: dict[Code, int] = defaultdict(int)
    spans: dict[str, list[tuple[int, CodeSpan]]] = defaultdict(list)
    for i, (value_set, day) in enumerate(sets):
        for code in value_set.codes_on(day):
            of_codes[code] |= 1 << i
        for span in value_set.spans_on(day):
            spans[span.system].append((i, span))
    for system, own in spans.items():
        for value in _between(span for _, span in own):
            ways.add(_in_spans(Code(system, value), own))
    for code, way in of_codes.items():
        own_spans = spans.get(code.system)
        ways.add(way | _in_spans(code, own_spans) if own_spans else way)
    return frozenset(ways)


def _in_spans(code: Code, spans: Iterable[tuple[int, CodeSpan]]) -> int:
    way = 0
    for i, span in spans:
        if span.holds(code):
            way |= 1 << i
    return way


def _between(spans: Iterable[CodeSpan]) -> Iterator[str]:
    """Values such that every stretch of strings between the edges of spans has one in it."""
    for span in spans:
        yield span.first
        yield span.last[:-1] + chr(ord(span.last[-1]) + 1)
