"""Conditions and declared facts as a policy's file writes them → the decision's own.

A condition is `all`, `any`, `not`, or a fact with what it is held against. What does not fit the
fact is told with its place in the file and its repair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, model_validator

from cards.texts.placeholders import wrong
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
    age,
    shifted,
)
from service.decision.facts import NOTHING, TABLE, FactKind, FactSource, FactSpec, Family, Value
from service.decision.units import convert, is_known
from service.decision.value_sets import CodeSpan, ValueSet, ValueSetEntry
from service.field_path import FieldPath
from service.policies.code_tokens import HOW_TO_WRITE, read_token
from service.policies.condition_phrases import phrases
from service.policies.fields import Model, Some, Text, Told, Write

Say = Callable[[FieldPath, str, str], None]
"""Takes what is wrong: the place in the file, the problem, the repair."""

_LENGTH = re.compile(r"(\d+) (day|week|month|year)s?")
_MOMENT = re.compile(r"(?:(\d+) (day|week|month|year)s? (before|after) )?(service|today)")
_MEASURE = re.compile(r"(-?\d+(?:\.\d+)?)(?: ?(\S+))?")

FactName = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_.-]*$"),
    Write("a fact of the table (order.reason) or one of the policy's own facts"),
]
Number = int | float | Text
_NUMBER = Write('a number, with its unit in quotes where the fact has one: "88 %"')
_MOMENT_WANTED = Write('a day, or as "30 days before service", service or today')


class ConditionEntry(Model):
    """A condition: `all`, `any` or `not` of others, or a fact and what it is held against."""

    all: Told[Some[ConditionEntry]] = None
    any: Told[Some[ConditionEntry]] = None
    not_: Told[ConditionEntry] = Field(None, validation_alias=AliasChoices("not"))
    fact: Told[FactName] = None
    in_: Told[Some[Text]] = Field(
        None,
        validation_alias=AliasChoices("in"),
        description='Codes, or names of value sets: ["icd10|M54*", red-flags].',
    )
    is_: Told[bool | Text] = Field(None, validation_alias=AliasChoices("is"))
    at_least: Annotated[Told[Number], _NUMBER] = None
    at_most: Annotated[Told[Number], _NUMBER] = None
    above: Annotated[Told[Number], _NUMBER] = None
    below: Annotated[Told[Number], _NUMBER] = None
    before: Annotated[Told[Text], _MOMENT_WANTED] = None
    after: Annotated[Told[Text], _MOMENT_WANTED] = None
    on_or_before: Annotated[Told[Text], _MOMENT_WANTED] = None
    on_or_after: Annotated[Told[Text], _MOMENT_WANTED] = None
    within: Annotated[Told[Text], Write('as "12 months before service"')] = None

    @model_validator(mode="after")
    def _one_of_four(self) -> ConditionEntry:
        kinds = [k for k in ("all", "any", "not_", "fact") if getattr(self, k) is not None]
        if len(kinds) != 1:
            raise wrong("needs exactly one of all, any, not and fact", "keep or add one of them")
        held = self.held_against
        if kinds == ["fact"] and not held:
            raise wrong("the fact is held against nothing", f"add one of {', '.join(_OPERATORS)}")
        if kinds != ["fact"] and held:
            raise wrong(f"{held[0]} has no fact", "add fact, or move it into a condition")
        return self

    @cached_property
    def held_against(self) -> tuple[str, ...]:
        """The operators written, by their names in the file."""
        return tuple(n for n, field in _FIELD_OF.items() if getattr(self, field) is not None)

    def operand(self, operator: str) -> object:
        """The operand of an operator, None where it is not written."""
        return getattr(self, _FIELD_OF[operator])

    def facts(self) -> Iterator[str]:
        """The names of all facts in it, as often as they stand there."""
        for _, asked in self.asked(()):
            if asked.fact is not None:
                yield asked.fact

    def asked(self, at: FieldPath) -> Iterator[tuple[FieldPath, ConditionEntry]]:
        """Each part that asks for a fact, with its place; `at` is the place of the whole."""
        if self.fact is not None:
            yield at, self
        for name, parts in (("all", self.all), ("any", self.any)):
            for i, part in enumerate(parts or ()):
                yield from part.asked((*at, name, i))
        if self.not_ is not None:
            yield from self.not_.asked((*at, "not"))


_OPERATORS = (
    *("in", "is", "at_least", "at_most", "above", "below"),
    *("before", "after", "on_or_before", "on_or_after", "within"),
)
_FIELD_OF = {name: {"in": "in_", "is": "is_"}.get(name, name) for name in _OPERATORS}
_OF_KIND: Mapping[FactKind, tuple[str, ...]] = {
    FactKind.CODES: ("in",),
    FactKind.CHOICE: ("is", "in"),
    FactKind.FLAG: ("is",),
    FactKind.NUMBER: ("at_least", "at_most", "above", "below"),
    FactKind.AGE: ("at_least", "at_most", "above", "below"),
    FactKind.DAY: ("before", "after", "on_or_before", "on_or_after", "within"),
}


class FactEntry(Model):
    """A fact that the policy declares: where it is read from. Exactly one of the first four."""

    observation: Told[Some[Text]] = Field(None, description="Codes or value sets of observations.")
    procedure: Told[Some[Text]] = Field(
        None, description="Codes or value sets of procedures; own: the policy's services."
    )
    order: Told[Some[Text]] = Field(None, description="The same of orders.")
    answer: Annotated[
        Told[Annotated[str, Field(pattern=r"^[a-z0-9-]+#\S+$")]],
        Write("a questionnaire of the policy and a linkId: conservative-care#weeks"),
    ] = None
    kind: Told[Literal["number", "flag", "choice", "day", "codes"]] = Field(
        None, description="What an answer is; an observation is a number, the others are days."
    )
    words: Text = Field(description='Its name in a sentence: "the oxygen saturation".')
    unit: Told[Text] = Field(None, description="UCUM's unit of a number.")
    within: Annotated[
        Told[Annotated[str, Field(pattern=_LENGTH.pattern)]],
        Write("a number and days, weeks, months or years: 30 days"),
    ] = Field(None, description='How long before the day of service it counts: "30 days".')

    @model_validator(mode="after")
    def _one_source(self) -> FactEntry:
        sources = [n for n in _SOURCES if getattr(self, n) is not None]
        if len(sources) != 1:
            raise wrong(f"needs exactly one of {', '.join(_SOURCES)}", "keep or add one of them")
        if (self.answer is None) != (self.kind is None):
            raise wrong("kind belongs to an answer, and an answer has one", "add or remove kind")
        return self


_SOURCES = ("observation", "procedure", "order", "answer")


@dataclass(frozen=True, slots=True)
class Compiler:
    """Makes the decision's values of a file's. `sets` are the value sets on file; `say` takes what
    is wrong: then what is made is of no use, and the file is refused.
    """

    sets: Mapping[str, ValueSet]
    say: Say

    def fact(self, name: str, entry: FactEntry, forms: Collection[str], at: FieldPath) -> FactSpec:
        """A declared fact; `forms` are the ids of the policy's questionnaires."""
        if name in TABLE:
            self.say(at, f"{name} is a fact of the table", "give this one another name")
        if entry.unit is not None and not is_known(entry.unit):
            self.say((*at, "unit"), f"the unit {entry.unit} is not known", "use a UCUM unit")
        months, days = _length(entry.within) if entry.within else (0, 0)
        if entry.answer is not None:
            form, _, link_id = entry.answer.partition("#")
            if form not in forms:
                on_file = ", ".join(sorted(forms)) or "add it to questionnaires"
                self.say((*at, "answer"), f"there is no questionnaire {form}", f"name {on_file}")
            source = FactSource(
                Family.ANSWER,
                months=months,
                days=days,
                questionnaire=form,
                link_id=link_id,
            )
            return FactSpec(
                name,
                FactKind(entry.kind or "number"),
                entry.words,
                (f"QuestionnaireResponse.item:{link_id}",),
                needs=("QuestionnaireResponse",),
                unit=entry.unit or ("1" if entry.kind == "number" else None),
                source=source,
            )
        family = next(n for n in _SOURCES if getattr(entry, n) is not None)
        written: tuple[str, ...] = getattr(entry, family)
        own = written == ("own",)
        source = FactSource(
            Family(family),
            codes=None if own else self.codes(written, (*at, family)),
            months=months,
            days=days,
        )
        number = family == "observation"
        return FactSpec(
            name,
            FactKind.NUMBER if number else FactKind.DAY,
            entry.words,
            _TOLD_BY[family],
            needs=_NEEDS[family],
            unit=entry.unit or "1" if number else None,
            may_be_nothing=not number,
            source=source,
        )

    def codes(self, written: tuple[str, ...], at: FieldPath) -> ValueSet:
        """The value set that codes and names of value sets make together."""
        sets = self.sets_of(written, at)
        if len(sets) == 1:
            return sets[0]
        entries = [e for s in sets for e in s.entries()]
        return ValueSet("", entries, ", ".join(s.title for s in sets))

    def sets_of(self, written: tuple[str, ...], at: FieldPath) -> tuple[ValueSet, ...]:
        found: list[ValueSet] = []
        entries: list[ValueSetEntry] = []
        for i, each in enumerate(written):
            if "|" not in each:
                named = self.sets.get(each)
                if named is None:
                    on_file = "".join(f", or name {id}" for id in sorted(self.sets))
                    problem = f"there is no value set {each}"
                    self.say((*at, i), problem, f"{HOW_TO_WRITE}{on_file}")
                else:
                    found.append(named)
                continue
            try:
                entries.append(ValueSetEntry(read_token(each)))
            except ValueError as error:
                self.say((*at, i), str(error), HOW_TO_WRITE)
        if entries:
            own = [w.partition("|")[2] for w in written if "|" in w]
            found.append(ValueSet("", entries, ", ".join(own)))
        return tuple(found)

    def condition(
        self, entry: ConditionEntry, facts: Mapping[str, FactSpec], at: FieldPath
    ) -> Condition:
        """The condition; `facts` are those that the policy declares."""
        for name, parts in (("all", entry.all), ("any", entry.any)):
            if parts is not None:
                of = tuple(self.condition(p, facts, (*at, name, i)) for i, p in enumerate(parts))
                return All(of) if name == "all" else AnyOf(of)
        if entry.not_ is not None:
            return Not(self.condition(entry.not_, facts, (*at, "not")))
        spec = facts.get(entry.fact or "") or TABLE.get(entry.fact or "")
        if spec is None:
            known = ", ".join((*facts, *TABLE))
            self.say((*at, "fact"), f"there is no fact {entry.fact}", f"use one of {known}")
            return All(())
        allowed = _OF_KIND[spec.kind]
        tests: list[Condition] = []
        for operator in entry.held_against:
            where = (*at, operator)
            if operator not in allowed:
                problem = f"{operator} cannot be asked of {spec.name}, which is {_KINDS[spec.kind]}"
                self.say(where, problem, f"use {' or '.join(allowed)}")
                continue
            test, value = self._test(spec, operator, entry.operand(operator), where)
            if test is not None:
                tests.append(Is(spec, test, _words(spec, operator, value)))
        return tests[0] if len(tests) == 1 else All(tuple(tests))

    def _test(
        self, spec: FactSpec, operator: str, operand: object, at: FieldPath
    ) -> tuple[Test | None, str]:
        """The test, and what the fact is held against in words."""
        words = phrases()
        if isinstance(operand, tuple) and spec.kind is FactKind.CODES:
            sets = self.sets_of(operand, at)
            return InSets(sets), words["or"].join(s.title for s in sets)
        if spec.kind is FactKind.FLAG:
            if not isinstance(operand, bool):
                self.say(at, f"{operand!r} is neither true nor false", "write true or false")
                return None, ""
            return OneOf(frozenset({operand})), words["yes" if operand else "no"]
        if spec.kind is FactKind.CHOICE:
            values = operand if isinstance(operand, tuple) else (str(operand),)
            for value in values:
                if spec.choices is not None and value not in spec.choices:
                    known = ", ".join(sorted(spec.choices))
                    self.say(at, f"{spec.name} is never {value}", f"use one of {known}")
            return OneOf(frozenset(values)), words["or"].join(values)
        if spec.kind is FactKind.DAY:
            return self._window(operator, str(operand), at), str(operand)
        measured = self.measure(spec, operand, at)
        if measured is None:
            return None, ""
        shown = f"{measured} {spec.unit}" if spec.unit not in (None, "1") else str(measured)
        if spec.kind is FactKind.AGE:
            years = int(measured)
            if years != measured or not 0 <= years <= _OLDEST:
                problem = f"an age is in whole years from 0 to {_OLDEST}, not {operand}"
                self.say(at, problem, "write whole years")
            ages = {
                "at_least": age(at_least=years),
                "at_most": age(below=years + 1),
                "above": age(at_least=years + 1),
                "below": age(below=years),
            }
            return ages[operator], shown
        ranges = {
            "at_least": InRange(low=measured),
            "at_most": InRange(high=measured),
            "above": InRange(low=measured, over=True),
            "below": InRange(high=measured, under=True),
        }
        return ranges[operator], shown

    def measure(self, spec: FactSpec, operand: object, at: FieldPath) -> Decimal | None:
        """A number in the fact's unit, or in years; None where something is wrong with it."""
        match = _MEASURE.fullmatch(str(operand).strip())
        if match is None:
            self.say(at, f"{operand!r} is no number", f"write a number in {spec.unit or 'years'}")
            return None
        try:
            value = Decimal(match[1])
        except InvalidOperation:  # pragma: no cover - the pattern lets none through
            return None
        own = spec.unit or "1"
        if match[2] is None:
            if own != "1":
                problem = f"{operand} has no unit, and {spec.name} is in {own}"
                self.say(at, problem, f'write "{operand} {own}"')
            return value
        if spec.kind is FactKind.AGE:
            if match[2] not in ("a", "year", "years"):
                self.say(at, f"an age is in years, not {match[2]}", "write years without a unit")
            return value
        converted = convert(value, match[2], own)
        if converted is None and not is_known(own):
            return None  # it is said of the fact's own unit
        if converted is None:
            self.say(at, f"{match[2]} cannot be compared with {own}", f"write it in {own}")
        return converted

    def _window(self, operator: str, operand: str, at: FieldPath) -> InWindow | None:
        edge = _edge(operand)
        if edge is None:
            self.say(
                at,
                f"{operand!r} is no day",
                'write "2026-01-31", "30 days before service", service or today',
            )
            return None
        if operator == "within":
            if edge.day is not None or (edge.months, edge.days) == (0, 0):
                self.say(at, f"{operand!r} is no time", 'write as "12 months before service"')
                return None
            base = Edge(base=edge.base)
            before = edge.months < 0 or edge.days < 0
            return InWindow(edge, base) if before else InWindow(base, edge)
        if operator == "on_or_before":
            return InWindow(last=edge)
        if operator == "on_or_after":
            return InWindow(first=edge)
        if operator == "before":
            return InWindow(last=edge.moved(-1))
        return InWindow(first=edge.moved(1))


_OLDEST = 150
"""No age is above it."""

_TOLD_BY = {
    "observation": ("Observation.value[x]", "Observation.effective[x]"),
    "procedure": ("Procedure.performed[x]",),
    "order": ("ServiceRequest.occurrence[x]", "DeviceRequest.occurrence[x]"),
}
_NEEDS = {
    "observation": ("Observation",),
    "procedure": ("Procedure",),
    "order": ("ServiceRequest", "DeviceRequest"),
}
_KINDS = {
    FactKind.CODES: "a set of codes",
    FactKind.CHOICE: "one word of a list",
    FactKind.FLAG: "yes or no",
    FactKind.NUMBER: "a number",
    FactKind.DAY: "a day",
    FactKind.AGE: "an age",
}


def fact_value(spec: FactSpec, written: object, service: date, today: date) -> Value:
    """A fact's value as a case writes it. Raises ValueError that says what is wrong with it."""
    if written == "none" and spec.may_be_nothing:
        return NOTHING
    if spec.kind is FactKind.CODES:
        listed = written if isinstance(written, tuple) else (str(written),)
        codes = frozenset(map(read_token, listed))
        if any(isinstance(c, CodeSpan) for c in codes):
            raise ValueError(f"{spec.name} is told in single codes")
        return codes  # type: ignore[return-value]
    if spec.kind is FactKind.FLAG:
        if not isinstance(written, bool):
            raise ValueError(f"{spec.name} is true or false")
        return written
    if spec.kind is FactKind.CHOICE:
        if spec.choices is not None and written not in spec.choices:
            raise ValueError(f"{spec.name} is one of {', '.join(sorted(spec.choices))}")
        return str(written)
    if spec.kind is FactKind.DAY:
        edge = _edge(str(written))
        if edge is None:
            raise ValueError(f"{written!r} is no day")
        return edge.on(service, today)
    problems: list[str] = []
    compiler = Compiler({}, lambda _, problem, __: problems.append(problem))
    measured = compiler.measure(spec, written, ())
    if measured is None or problems:
        raise ValueError("; ".join(problems))
    return shifted(service, -12 * int(measured)) if spec.kind is FactKind.AGE else measured


def _length(written: str) -> tuple[int, int]:
    """Months and days of "12 months", "2 weeks"."""
    match = _LENGTH.fullmatch(written)
    if match is None:
        return 0, 0
    return _in_months_and_days(int(match[1]), match[2])


def _in_months_and_days(number: int, unit: str) -> tuple[int, int]:
    months = {"month": number, "year": 12 * number}.get(unit, 0)
    days = {"day": number, "week": 7 * number}.get(unit, 0)
    return months, days


def _edge(written: str) -> Edge | None:
    match = _MOMENT.fullmatch(written.strip())
    if match is not None:
        months, days = _in_months_and_days(int(match[1]), match[2]) if match[1] else (0, 0)
        sign = -1 if match[3] == "before" else 1
        return Edge(base=DayBase(match[4]), months=sign * months, days=sign * days)
    try:
        return Edge(day=date.fromisoformat(written.strip()))
    except ValueError:
        return None


def _words(spec: FactSpec, operator: str, value: str) -> str:
    template: str = phrases()[operator]
    return template.format(fact=spec.called or spec.words, value=value)
