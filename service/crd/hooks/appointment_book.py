"""appointment-book 1.0: review of booked appointments and their orders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.crd.cds_service import (
    COVERAGE,
    ENCOUNTER,
    PATIENT,
    Call,
    CdsService,
    HookTier,
    ReviewTarget,
    context_schema,
)
from service.decision.evaluate import in_scope
from service.ehr.fhir_query import FhirQuery, orders_behind
from service.fhir.document import Resource
from service.fhir.orders import ORDER_TYPES, based_on, read_standing
from service.fhir.resources import Resources


def booked(_: Call, resources: Resources) -> Sequence[ReviewTarget]:
    """Each appointment's orders or, without any, the appointment itself.

    An order of two appointments is reviewed once, on the earlier day. An order that is not to be
    done leaves its appointment under review; a cancelled appointment is not reviewed.
    """
    found: dict[str, ReviewTarget] = {}
    for appointment in sorted(_appointments(resources), key=_start):
        if not in_scope(read_standing(appointment)):
            continue
        found_behind = [o for r in based_on(appointment) if (o := resources.get(r)) is not None]
        orders = [o for o in found_behind if o.type in ORDER_TYPES and in_scope(read_standing(o))]
        for order in orders or [appointment]:
            found.setdefault(order.reference, ReviewTarget(order, appointment))
    return list(found.values())


def _start(appointment: Resource) -> str:
    start = appointment.data.get("start")
    return start if isinstance(start, str) else ""


def missing_orders(_: Call, resources: Resources) -> Sequence[FhirQuery]:
    """Reads of the appointments' missing orders."""
    return [n for a in _appointments(resources) for n in orders_behind(a, resources)]


def _appointments(resources: Resources) -> Iterator[Resource]:
    found = resources.found_at(("context", "appointments"))
    return (r for r in found if r.type == "Appointment")


SERVICE = CdsService(
    id="appointment-book-crd",
    hook="appointment-book",
    title="Coverage of services being booked",
    description=(
        "Says, when an appointment is made, whether the patient's plan covers what is booked, and "
        "which advance notice the patient should get."
    ),
    prefetch={"patient": PATIENT, "coverage": COVERAGE, "encounter": ENCOUNTER},
    context_schema=context_schema(
        ["userId", "patientId", "appointments"], appointments={"$ref": "#/$defs/bundle"}
    ),
    asked=booked,
    tier=HookTier.PRIMARY,
    needs=missing_orders,
)
