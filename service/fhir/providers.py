"""National provider identifiers (NPI) of orderer and performer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.fhir.document import Resource
from service.fhir.elements import text
from service.fhir.resources import Resources

NPI = "http://hl7.org/fhir/sid/us-npi"

_ORDERED_BY = ("requester", "sender", "orderer", "prescriber")
_PERFORMED_BY = ("performer", "dispenseRequest", "locationReference", "recipient")
_LEADS_TO = ("practitioner", "organization", "managingOrganization", "performer")
_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Providers:
    """NPIs without duplicates. A provider's organization counts as the provider."""

    ordered_by: tuple[str, ...] = ()
    performed_by: tuple[str, ...] = ()


def read_providers(
    order: Resource, resources: Resources, performer: str | None = None
) -> Providers:
    """The NPIs of an order's references, their own and those of their targets.

    `performer` is the performer's reference in the call (order-dispatch).
    """
    dispatched = {"performer": [{"reference": performer}]} if performer else {}
    return Providers(
        ordered_by=_npis(order.data, _ORDERED_BY, resources),
        performed_by=_npis(dispatched or order.data, _PERFORMED_BY, resources),
    )


def _npis(data: Mapping[str, Any], elements: tuple[str, ...], at: Resources) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for element in elements:
        if element in data:
            _collect(data[element], at, _DEPTH, found)
    return tuple(found)


def _collect(value: object, at: Resources, depth: int, found: dict[str, None]) -> None:
    """Add the NPIs of a reference, of what it leads to, and of a list of them."""
    if isinstance(value, dict):
        if "identifier" in value:
            _identified(value["identifier"], found)
        reference = value.get("reference")
        target = at.get(reference) if isinstance(reference, str) else None
        if target is None:
            _follow(value, at, depth, found)
        else:
            # The orders of a call mostly name the same provider.
            key = ("npis", target.reference, depth)
            found.update(at.once(key, lambda: _npis_of(target.data, at, depth)))
    elif isinstance(value, list):
        for item in value:
            _collect(item, at, depth, found)


def _npis_of(data: Mapping[str, Any], at: Resources, depth: int) -> dict[str, None]:
    """The NPIs of a resource and of what it leads to."""
    found: dict[str, None] = {}
    if "identifier" in data:
        _identified(data["identifier"], found)
    _follow(data, at, depth, found)
    return found


def _follow(data: Mapping[str, Any], at: Resources, depth: int, found: dict[str, None]) -> None:
    """Add the NPIs of what an object's elements lead to, as far as the depth allows."""
    if depth > 1:
        for element in _LEADS_TO:
            if element in data:
                _collect(data[element], at, depth - 1, found)


def _identified(identifiers: object, found: dict[str, None]) -> None:
    for identifier in identifiers if isinstance(identifiers, list) else (identifiers,):
        if isinstance(identifier, dict) and identifier.get("system") == NPI:
            value = text(identifier.get("value"))
            if value is not None:
                found[value] = None
