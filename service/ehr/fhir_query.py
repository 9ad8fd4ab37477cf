"""FHIR queries of a call, as values, and the references that lead to them."""

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
"""Parameters with canonicals as values, which are this service's own."""


@dataclass(frozen=True, slots=True)
class Read:
    """A read of one resource by its reference, as written.

    `required_at` is the place in the request of an indispensable resource; the absence of another
    resource is no error.
    """

    reference: str
    required_at: str | None = field(default=None, compare=False)

    @property
    def label(self) -> str:
        """The read for the log: "Type/id", without the text of an invalid reference."""
        literal = parse_literal(self.reference)
        return literal.local if literal else "(not a reference)"


@dataclass(frozen=True, slots=True)
class Search:
    """A search of a type. `brings` are the included types."""

    type: str
    params: tuple[tuple[str, str], ...]
    brings: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """The search for the log: names of parameters, without their values (patient data)."""
        return f"{self.type}?{'&'.join(name for name, _ in self.params)}"

    @property
    def is_plain(self) -> bool:
        """Whether no value contains FHIR's separators: comma, bar, dollar."""
        return all(
            (_CANONICAL if name in _CANONICALS else _VALUE).fullmatch(value)
            for name, value in self.params
        )


FhirQuery = Read | Search


def missing(
    reference: object, resources: Resources, *types: str, required_at: str | None = None
) -> Iterator[Read]:
    """The read for a reference to one of `types`, unless its resource is present.

    A contained or urn:uuid reference cannot be read: it yields none, unless it is required.
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
    """Reads of a coverage's payor Organizations, for payors without an identifier."""
    for payor in _mappings(coverage.data.get("payor")):
        identifier = payor.get("identifier")
        if not (isinstance(identifier, Mapping) and identifier.get("value")):
            yield from missing(payor.get("reference"), resources, "Organization")


def insurance_needs(order: Resource, resources: Resources) -> Iterator[Read]:
    """Reads of an order's coverages."""
    for reference in insurance_references(order):
        yield from missing(reference, resources, "Coverage")


def code_needs(order: Resource, resources: Resources) -> Iterator[Read]:
    """Reads of the Medication, Device or Procedure with an order's code."""
    for reference in code_references(order):
        yield from missing(reference, resources, "Medication", "Device", "Procedure")


def orders_behind(appointment: Resource, resources: Resources) -> Iterator[Read]:
    """Reads of an appointment's missing orders."""
    for reference in based_on(appointment):
        yield from missing(reference, resources, *ORDER_TYPES)


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, Mapping):
            yield item
