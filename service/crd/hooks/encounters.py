"""What the two encounter hooks share: the orders and appointments of one encounter."""

from __future__ import annotations

from collections.abc import Sequence

from service.crd.hooks.appointment_book import based_on
from service.crd.service import Asked, Call
from service.fhir.orders import ORDER_TYPES
from service.fhir.references import local_reference
from service.fhir.resources import Resources


def of_the_encounter(call: Call, resources: Resources) -> Sequence[Asked]:
    """Orders that name the context's encounter, and appointments that became it."""
    encounter = f"Encounter/{call.encounter_id or ''}"
    at_hand = resources.get(encounter)
    booked = {
        local_reference(reference["reference"])
        for reference in (at_hand.data.get("appointment", ()) if at_hand else ())
        if "reference" in reference
    }
    found: dict[str, Asked] = {}
    for resource in resources.of_type(*ORDER_TYPES):
        named = resource.data.get("encounter", {}).get("reference")
        if isinstance(named, str) and local_reference(named) == encounter:
            found[resource.reference] = Asked(resource)
        elif resource.type == "Appointment" and resource.reference in booked:
            orders = [o for r in based_on(resource) if (o := resources.get(r)) is not None]
            for order in [o for o in orders if o.type in ORDER_TYPES] or [resource]:
                found.setdefault(order.reference, Asked(order, resource))
    return list(found.values())
