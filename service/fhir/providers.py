"""National provider identifiers (NPI) of orderer and performer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.fhir.document import Resource
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
    if isinstance(value, list):
        for item in value:
            _collect(item, at, depth, found)
    elif isinstance(value, dict):
        _identified(value.get("identifier"), found)
        reference = value.get("reference")
        target = at.get(reference) if isinstance(reference, str) else None
        if target is not None:
            value = target.data
            _identified(value.get("identifier"), found)
        if depth > 1:
            for element in _LEADS_TO:
                if element in value:
                    _collect(value[element], at, depth - 1, found)


def _identified(identifiers: object, found: dict[str, None]) -> None:
    if identifiers is None:
        return
    for identifier in identifiers if isinstance(identifiers, list) else (identifiers,):
        if isinstance(identifier, dict) and identifier.get("system") == NPI:
            value = identifier.get("value")
            if isinstance(value, str) and (npi := value.strip()):
                found[npi] = None
