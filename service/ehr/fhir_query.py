"""FHIR queries of a call, as values, and the references that lead to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.fhir.document import Resource
from service.fhir.elements import mappings
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


def _has_status(data: Mapping[str, Any], status: str) -> bool:
    return data.get("status") in (None, status)


def _has_version(data: Mapping[str, Any], version: str) -> bool:
    return bool(data.get("version") == version)


def _is_of_encounter(data: Mapping[str, Any], encounter: str) -> bool:
    reference = data.get("encounter")
    written = reference.get("reference") if isinstance(reference, dict) else None
    literal = parse_literal(written) if isinstance(written, str) else None
    return literal is not None and literal.local == f"Encounter/{encounter}"


def _answers(data: Mapping[str, Any], questionnaire: str) -> bool:
    canonical = data.get("questionnaire")
    return isinstance(canonical, str) and canonical.partition("|")[0] == questionnaire


_FILTERS: Mapping[str, Callable[[Mapping[str, Any], str], bool]] = {
    "status": _has_status,
    "version": _has_version,
    "encounter": _is_of_encounter,
    "questionnaire": _answers,
}


@dataclass(frozen=True, slots=True)
class Search:
    """A search of a type. `brings` are the included types.

    `spare` names parameters that not every server knows (US Core requires few). If a server refuses
    the search, it is repeated without them; their conditions are checked here (`asks_for`).
    """

    type: str
    params: tuple[tuple[str, str], ...]
    brings: frozenset[str] = frozenset()
    spare: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """The search for the log: names of parameters, without their values (patient data)."""
        return f"{self.type}?{'&'.join(name for name, _ in self.params)}"

    @property
    def plainer(self) -> tuple[tuple[str, str], ...]:
        """The parameters without those that the search can spare."""
        return tuple((name, value) for name, value in self.params if name not in self.spare)

    def asks_for(self, data: Mapping[str, Any]) -> bool:
        """Whether a resource meets the conditions of the spare parameters, which a server may have
        ignored. A resource without a status meets that of a status.
        """
        return all(
            _FILTERS[name](data, value)
            for name, value in self.params
            if name in self.spare and name in _FILTERS and data.get("resourceType") == self.type
        )

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
) -> Sequence[Read]:
    """The read for a reference to one of `types`, unless its resource is present.

    A contained or urn:uuid reference cannot be read: it yields none, unless it is required.
    """
    if not isinstance(reference, str) or resources.get(reference) is not None:
        return ()
    literal = parse_literal(reference)
    if literal is None:
        cannot_be_read = required_at is None and reference.startswith(("#", "urn:"))
        return () if cannot_be_read else (Read(reference, required_at),)
    return (Read(reference, required_at),) if literal.type in types else ()


def payor_needs(coverage: Resource, resources: Resources) -> Sequence[Read]:
    """Reads of a coverage's payor Organizations, for payors without an identifier."""
    needs: list[Read] = []
    for payor in mappings(coverage.data.get("payor")):
        identifier = payor.get("identifier")
        if not (isinstance(identifier, dict) and identifier.get("value")):
            needs += missing(payor.get("reference"), resources, "Organization")
    return needs


def insurance_needs(order: Resource, resources: Resources) -> Sequence[Read]:
    """Reads of an order's coverages."""
    return [
        need
        for reference in insurance_references(order)
        for need in missing(reference, resources, "Coverage")
    ]


def code_needs(order: Resource, resources: Resources) -> Sequence[Read]:
    """Reads of the Medication, Device or Procedure with an order's code."""
    return [
        need
        for reference in code_references(order)
        for need in missing(reference, resources, "Medication", "Device", "Procedure")
    ]


def orders_behind(appointment: Resource, resources: Resources) -> Iterator[Read]:
    """Reads of an appointment's missing orders."""
    for reference in based_on(appointment):
        yield from missing(reference, resources, *ORDER_TYPES)
