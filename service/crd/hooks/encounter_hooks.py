"""Orders and appointments of one encounter, for the two encounter hooks."""

from __future__ import annotations

from collections.abc import Sequence

from service.crd.cds_service import Call, ReviewTarget
from service.ehr.fhir_query import FhirQuery, Search, missing, orders_behind
from service.fhir.orders import ORDER_TYPES, VISIT_TYPE, based_on
from service.fhir.resources import Resources


def of_the_encounter(call: Call, resources: Resources) -> Sequence[ReviewTarget]:
    """Appointments that became the context's encounter, orders that name it, and the visit itself.

    An order with an appointment is reviewed on the appointment's day.
    """
    encounter = _encounter(call)
    booked = {resources.local(r) for r in _appointments(call, resources)}
    found: dict[str, ReviewTarget] = {}
    for resource in resources.of_type("Appointment"):
        if resource.reference in booked:
            orders = [o for r in based_on(resource) if (o := resources.get(r)) is not None]
            for order in [o for o in orders if o.type in ORDER_TYPES] or [resource]:
                found.setdefault(order.reference, ReviewTarget(order, resource))
    for resource in resources.of_type(*sorted(ORDER_TYPES)):
        named = resource.data.get("encounter", {}).get("reference")
        if isinstance(named, str) and resources.local(named) == encounter:
            found.setdefault(resource.reference, ReviewTarget(resource))
    visit = resources.get(encounter)
    if visit is not None and visit.type == VISIT_TYPE:
        found[visit.reference] = ReviewTarget(visit)
    return list(found.values())


def missing_of_the_encounter(call: Call, resources: Resources) -> Sequence[FhirQuery]:
    """Queries for the encounter, its orders, its appointments and their orders.

    A type of order is searched for unless the call has resources of that type: a client that
    prefetches a type prefetches all of it.
    """
    needs: list[FhirQuery] = [*missing(_encounter(call), resources, "Encounter")]
    patient = call.patient_id.removeprefix("Patient/")
    for kind in sorted(ORDER_TYPES - {"Appointment"}):
        if not resources.of_type(kind):
            params = (("patient", patient), ("encounter", _encounter_id(call)))
            needs.append(Search(kind, params, spare=frozenset({"encounter"})))
    for reference in _appointments(call, resources):
        needs.extend(missing(reference, resources, "Appointment"))
        appointment = resources.get(reference)
        if appointment is not None and appointment.type == "Appointment":
            needs.extend(orders_behind(appointment, resources))
    return needs


def _encounter_id(call: Call) -> str:
    return (call.encounter_id or "").removeprefix("Encounter/")


def _encounter(call: Call) -> str:
    return f"Encounter/{_encounter_id(call)}"


def _appointments(call: Call, resources: Resources) -> list[str]:
    """References to the encounter's appointments."""
    at_hand = resources.get(_encounter(call))
    appointments = at_hand.data.get("appointment", ()) if at_hand else ()
    return [a["reference"] for a in appointments if "reference" in a]
