"""National provider identifiers (NPI) of orderer and performer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    return tuple(dict.fromkeys(n for e in elements for n in _of(data.get(e), at, _DEPTH)))


def _of(value: object, at: Resources, depth: int) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _of(item, at, depth)
    elif isinstance(value, Mapping) and depth:
        yield from _identified(value.get("identifier"))
        reference = value.get("reference")
        target = at.get(reference) if isinstance(reference, str) else None
        data = target.data if target else value
        if target:
            yield from _identified(data.get("identifier"))
        for element in _LEADS_TO:
            yield from _of(data.get(element), at, depth - 1)


def _identified(identifiers: object) -> Iterator[str]:
    for identifier in identifiers if isinstance(identifiers, list) else [identifiers]:
        if isinstance(identifier, Mapping) and identifier.get("system") == NPI:
            value = identifier.get("value")
            if isinstance(value, str) and value.strip():
                yield value.strip()
