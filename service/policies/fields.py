"""Field types of library files: strict and frozen, each with its fix.

Files are read with pydantic models. Validation is at reading, never in a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import reduce
from operator import or_
from types import NoneType
from typing import Annotated, Any, Generic, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticKnownError

from cards.texts.placeholders import Placeholders, wrong
from cards.texts.wording_fields import Model, Sentence, Text, Write
from service.decision.policy import Program

__all__ = [
    "ByProgram",
    "Day",
    "EachOnce",
    "Id",
    "Model",
    "MonthOrDay",
    "Period",
    "ProgramName",
    "Sentence",
    "Several",
    "Some",
    "Template",
    "Text",
    "Told",
    "Url",
    "Write",
    "day_written",
    "text_only",
]

T = TypeVar("T")

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class _LeftOutOrTold:
    """An optional field that must not be empty: `end:` without a value is an error."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        told = tuple(t for t in get_args(source) if t is not NoneType)
        return handler.generate_schema(reduce(or_, told))


def text_only(value: object) -> object:
    """Refuse a scalar that YAML reads as another type than text for lack of quotes."""
    if isinstance(value, (bool, int, float, date)):
        raise PydanticKnownError("string_type")
    return value


def day_written(value: object) -> date:
    """A quoted day as YYYY-MM-DD."""
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    if not _DAY.fullmatch(value):
        raise PydanticKnownError("string_pattern_mismatch", {"pattern": _DAY.pattern})
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise wrong(f"there is no day {value}", "write a day of the calendar") from None


def _each_once(values: Sequence[T]) -> Sequence[T]:
    if len(set(values)) < len(values):
        raise wrong("the list names something twice", "leave one of the two")
    return values


Told = Annotated[T | None, _LeftOutOrTold()]
"""An optional field."""
Several = Annotated[tuple[T, ...], Field(strict=False)]
"""A list."""
Some = Annotated[tuple[T, ...], Field(strict=False, min_length=1)]
"""A list with at least one entry."""
EachOnce = AfterValidator(_each_once)

Template = Annotated[Text, Placeholders("services", "codes")]
"""A text for people, with placeholders for the order."""
Id = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64),
    Write("an id in lower-case letters, digits and hyphens"),
]
Day = Annotated[
    date,
    BeforeValidator(day_written),
    WithJsonSchema({"type": "string", "format": "date"}),
    Write('a day as "YYYY-MM-DD"'),
]
MonthOrDay = Annotated[
    str,
    Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?$"),
    Write('a month or a day as "YYYY-MM" or "YYYY-MM-DD"'),
]
Url = Annotated[
    str, Field(pattern=r"^https?://[^\s]+$"), Write("an address that begins with https://")
]
ProgramName = Annotated[Program, Field(strict=False)]


class Period(Model):
    """The period of a version, both days inclusive; open without an end."""

    start: Day = Field(description="The first day.")
    end: Told[Day] = Field(None, description="The last day.")

    def overlaps(self, other: Period) -> bool:
        """Whether the periods share a day."""
        return (self.end or date.max) >= other.start and (other.end or date.max) >= self.start

    def holds(self, day: date) -> bool:
        return self.start <= day <= (self.end or date.max)


class ByProgram(Model, Generic[T]):
    """One value for each Medicare program; `not_told` where the request does not tell it.

    `not_medicare` only where the policy is applied to other programs, too.
    """

    medicare_advantage: T
    original_medicare: T
    not_told: T
    not_medicare: Told[T] = None

    def of(self, program: Program) -> T:
        """The program's value. Raises KeyError for one that the file leaves out."""
        value: T | None = getattr(self, program.value)
        if value is None:
            raise KeyError(program.value)
        return value

    def given(self) -> Iterator[tuple[Program, T]]:
        """Each program that has a value, with it."""
        for program, name in _PROGRAMS:
            value: T | None = getattr(self, name)
            if value is not None:
                yield program, value


_PROGRAMS = tuple((program, program.value) for program in Program)
