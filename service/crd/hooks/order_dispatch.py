"""order-dispatch 1.0: review of signed orders sent to a performer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.crd.cds_service import (
    COVERAGE,
    PATIENT,
    Call,
    CdsService,
    HookTier,
    ReviewTarget,
    context_schema,
)
from service.ehr.fhir_query import FhirQuery, missing
from service.fhir.orders import ORDER_TYPES
from service.fhir.resources import Resources


def dispatched_orders(call: Call, resources: Resources) -> Sequence[ReviewTarget]:
    """The present orders of those that the context names, each once (CRD 2.2.1 hook-30)."""
    named = (resources.get(reference) for reference, _ in named_orders(call))
    found = resources.each_once(r for r in named if r is not None)
    return [ReviewTarget(r) for r in found if r.type in ORDER_TYPES]


def missing_orders(call: Call, resources: Resources) -> Sequence[FhirQuery]:
    """Reads of the context's missing orders.

    They are required: without one there is no answer (CDS Hooks 2.0 statement 54).
    """
    return [
        need
        for reference, place in named_orders(call)
        for need in missing(reference, resources, *ORDER_TYPES, required_at=place)
    ]


def named_orders(call: Call) -> Sequence[tuple[str, str]]:
    """References to the dispatched orders with their places in the call.

    They are in `dispatchedOrders`; in the ballot of September 2023, referenced by CRD 2.0.1, a
    single one is in `order`, beside `performer` and `task`.
    """
    several: Sequence[str] | None = call.context.get("dispatchedOrders")
    if several is None:
        return [(call.context["order"], "context.order")]
    return [(r, f"context.dispatchedOrders[{i}]") for i, r in enumerate(several)]


def _context_schema() -> dict[str, Any]:
    schema = context_schema(
        ["patientId"],
        dispatchedOrders={"type": "array", "items": {"type": "string"}},
        order={"type": "string", "minLength": 1},
        performer={"type": ["string", "null"]},
        fulfillmentTasks={"type": "array", "items": {"$ref": "#/$defs/resource"}},
        task={"$ref": "#/$defs/resource"},
    )
    without_order = {"not": {"required": ["order"]}}
    return {**schema, "if": without_order, "then": {"required": ["dispatchedOrders"]}}


SERVICE = CdsService(
    id="order-dispatch-crd",
    hook="order-dispatch",
    title="Coverage of orders about to be sent out",
    description=(
        "Says, when orders go to a performer, whether the patient's plan covers them, and which "
        "advance notice the patient should have had."
    ),
    # Orders are fetched by reference. CRD 2.2.1 has a template for each type, of which most calls
    # need one; they resolve references, which CDS Hooks 2.0 clients cannot.
    prefetch={"patient": PATIENT, "coverage": COVERAGE},
    context_schema=_context_schema(),
    asked=dispatched_orders,
    tier=HookTier.PRIMARY,
    needs=missing_orders,
)
