"""What a call needs of its EHR, as values, and the references in a resource that lead to more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.fhir.document import Resource
from service.fhir.orders import ORDER_TYPES, based_on, code_references, insurance_references
from service.fhir.references import parse_literal
from service.fhir.resources import Resources

_VALUE = re.compile(r"[A-Za-z0-9\-._:]{1,128}")
_CANONICAL = re.compile(r"https?://[A-Za-z0-9\-._:/\[\]]{1,256}")
_CANONICALS = frozenset({"url", "questionnaire"})
"""Parameters whose values are canonicals: ours, never something that came with a call."""


@dataclass(frozen=True, slots=True)
class Read:
    """One resource by its reference, as it was written.

    `required_at` is the place in the request of a resource without which there is nothing to
    answer; missing anything else is no error of the call.
    """

    reference: str
    required_at: str | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """What is read, for the log: "Type/id", never the text of something that is no reference"""
        literal = parse_literal(self.reference)
        return literal.local if literal else "(not a reference)"


@dataclass(frozen=True, slots=True)
class Search:
    """One search of a type. `brings` are the types that it includes beside its own."""

    type: str
    params: tuple[tuple[str, str], ...]
    brings: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """What is searched, for the log: the parameters' names, for their values are a patient's"""
        return f"{self.type}?{'&'.join(name for name, _ in self.params)}"

    @property
    def is_plain(self) -> bool:
        """Whether every value means what it says: FHIR gives commas, bars and dollars a meaning."""
        return all(
            (_CANONICAL if name in _CANONICALS else _VALUE).fullmatch(value)
            for name, value in self.params
        )


FhirQuery = Read | Search


def missing(
    reference: object, resources: Resources, *types: str, required_at: str | None = None
) -> Iterator[Read]:
    """The need to read what a reference to one of `types` points at, unless it is at hand.

    What can be at hand only (contained, urn:uuid) is no need, unless the call requires it.
    """
    if not isinstance(reference, str) or resources.get(reference) is not None:
        return
    literal = parse_literal(reference)
    if literal is None:
        if required_at is not None or not reference.startswith(("#", "urn:")):
            yield Read(reference, required_at)
    elif literal.type in types:
        yield Read(reference, required_at)


def payor_needs(coverage: Resource, resources: Resources) -> Iterator[Read]:
    """The Organizations behind a coverage's payors, where no identifier tells the payor itself."""
    for payor in _mappings(coverage.data.get("payor")):
        identifier = payor.get("identifier")
        if not (isinstance(identifier, Mapping) and identifier.get("value")):
            yield from missing(payor.get("reference"), resources, "Organization")


def insurance_needs(order: Resource, resources: Resources) -> Iterator[Read]:
    """The coverages that an order names."""
    for reference in insurance_references(order):
        yield from missing(reference, resources, "Coverage")


def code_needs(order: Resource, resources: Resources) -> Iterator[Read]:
    """The Medication, Device or Procedure that holds an order's code."""
    for reference in code_references(order):
        yield from missing(reference, resources, "Medication", "Device", "Procedure")


def orders_behind(appointment: Resource, resources: Resources) -> Iterator[Read]:
    """The orders behind an appointment that are not at hand."""
    for reference in based_on(appointment):
        yield from missing(reference, resources, *ORDER_TYPES)


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping):
            yield item
