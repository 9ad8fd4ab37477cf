"""FHIR's data types as facts: codes, quantities, days and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from service.decision.facts import NOT_TOLD, Between, Fact, Why
from service.decision.order import Code
from service.decision.units import convert
from service.fhir.dates import day_range
from service.fhir.elements import mappings, text
from service.fhir.systems import code_of


@dataclass(slots=True)
class CodesTold:
    """Codes as they are gathered, and what of them could not be read."""

    codes: set[Code] = field(default_factory=set)
    places: list[str] = field(default_factory=list)
    lacking: Fact | None = None
    told: bool = False

    def add_concepts(self, written: object, place: str) -> None:
        listed = isinstance(written, list)
        for i, concept in enumerate(written if isinstance(written, list) else [written]):
            if isinstance(concept, dict):
                self._add(concept, f"{place}[{i}]" if listed else place)

    def add(self, code: Code, place: str) -> None:
        self.told = True
        self.codes.add(code)
        self.places.append(place)

    def lack(self, fact: Fact) -> None:
        self.told = True
        self.lacking = self.lacking or fact

    def _add(self, concept: Mapping[str, Any], place: str) -> None:
        read = [c for coding in mappings(concept.get("coding")) if (c := code_of(coding))]
        for code in read:
            self.add(code, place)
        if not read:
            because = "it is told without a code that can be read"
            self.lack(Fact(why=Why.NOT_READABLE, places=(place,), because=because))

    def fact(self, absent: Fact = NOT_TOLD) -> Fact:
        if not self.told:
            return absent
        places = tuple(dict.fromkeys(self.places))
        if self.lacking is None:
            return Fact(frozenset(self.codes), places)
        value = frozenset(self.codes) if self.codes else None
        lacking = self.lacking
        return Fact(value, places or lacking.places, lacking.why, lacking.because)


def measured(quantity: object, unit: str, place: str) -> Fact:
    """The number of a Quantity in a unit."""
    value = decimal(quantity.get("value")) if isinstance(quantity, dict) else None
    if not isinstance(quantity, dict) or value is None:
        return Fact(why=Why.NOT_READABLE, places=(place,), because="it has no number")
    if quantity.get("comparator"):
        return Fact(why=Why.NOT_READABLE, places=(place,), because="it is less or more than told")
    written = text(quantity.get("code")) or text(quantity.get("unit"))
    if written is None or unit == "1":
        return Fact(value, (place,))
    converted = convert(value, written, unit)
    if converted is None:
        return Fact(why=Why.NOT_READABLE, places=(place,), because=f"its unit is not {unit}")
    return Fact(converted, (place,))


def day_told(written: object, place: str, zone: tzinfo | None) -> Fact:
    days = day_range(written, zone)
    if days is None:
        return Fact(why=Why.NOT_READABLE, places=(place,), because="it is no date")
    if days[0] == days[1]:
        return Fact(days[0], (place,))
    return Fact(Between(*days), (place,), Why.NOT_READABLE, "it is told as a month or a year")


def decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
