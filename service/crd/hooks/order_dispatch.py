"""order-dispatch: signed orders go to a performer; those are asked about (order-dispatch 1.0)."""

from __future__ import annotations

from collections.abc import Sequence

from service.crd.service import COVERAGE, PATIENT, Answering, Asked, Call, Service, context_schema
from service.fhir.needs import Need, missing
from service.fhir.orders import ORDER_TYPES
from service.fhir.resources import Resources


def dispatched_orders(call: Call, resources: Resources) -> Sequence[Asked]:
    """The orders that dispatchedOrders names, as far as they are at hand (CRD 2.2.1 hook-30)."""
    found = (resources.get(reference) for reference in call.context["dispatchedOrders"])
    return [Asked(r) for r in found if r is not None and r.type in ORDER_TYPES]


def missing_orders(call: Call, resources: Resources) -> Sequence[Need]:
    """The orders that dispatchedOrders names and that are not at hand.

    Without any of them there is nothing to answer (CDS Hooks 2.0 statement 54).
    """
    return [
        need
        for i, reference in enumerate(call.context["dispatchedOrders"])
        for need in missing(
            reference, resources, *ORDER_TYPES, required_at=f"context.dispatchedOrders[{i}]"
        )
    ]


SERVICE = Service(
    id="order-dispatch-crd",
    hook="order-dispatch",
    title="Coverage of orders about to be sent out",
    description=(
        "Says, when orders go to a performer, whether the patient's plan covers them, and which "
        "advance notice the patient should have had."
    ),
    # The orders themselves are fetched by reference: no standard template reaches into a list of
    # references, and a wrong one would cost every call a failed query.
    prefetch={"patient": PATIENT, "coverage": COVERAGE},
    context_schema=context_schema(
        ["patientId", "dispatchedOrders"],
        dispatchedOrders={"type": "array", "items": {"type": "string"}},
        performer={"type": ["string", "null"]},
        fulfillmentTasks={"type": "array", "items": {"$ref": "#/$defs/resource"}},
    ),
    asked=dispatched_orders,
    answering=Answering.FULL,
    needs=missing_orders,
)
