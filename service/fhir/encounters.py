"""Encounters of an order: emergency care."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from service.fhir.document import Resource
from service.fhir.resources import Resources
from service.fhir.systems import EMERGENCY_CLASS


def encounters_of(order: Resource, encounter_id: str | None) -> Iterator[str]:
    """References of an order's encounters: the context's and its own.

    The context's is absent in order-dispatch and optional elsewhere.
    """
    if encounter_id:
        yield f"Encounter/{encounter_id.removeprefix('Encounter/')}"
    own = order.data.get("encounter")
    reference = own.get("reference") if isinstance(own, Mapping) else None
    if isinstance(reference, str):
        yield reference


def is_emergency(order: Resource, resources: Resources, encounter_id: str | None) -> bool:
    """Whether one of the order's encounters is present with class EMER."""
    return any(_is_emergency(r, resources) for r in encounters_of(order, encounter_id))


def _is_emergency(reference: str, resources: Resources) -> bool:
    encounter = resources.get(reference)
    kind = encounter.data.get("class") if encounter else None
    return isinstance(kind, Mapping) and kind.get("code") == EMERGENCY_CLASS
