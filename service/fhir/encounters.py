"""What an encounter tells of the care: whether it is emergency care."""

from __future__ import annotations

from collections.abc import Mapping

from service.fhir.resources import Resources
from service.fhir.systems import EMERGENCY_CLASS


def is_emergency(resources: Resources, encounter_id: str | None) -> bool:
    """Whether the context's encounter is at hand and of class EMER."""
    if not encounter_id:
        return False
    encounter = resources.get(f"Encounter/{encounter_id.removeprefix('Encounter/')}")
    kind = encounter.data.get("class") if encounter else None
    return isinstance(kind, Mapping) and kind.get("code") == EMERGENCY_CLASS
