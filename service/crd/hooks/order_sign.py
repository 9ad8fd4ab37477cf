"""order-sign 1.1: review of every draft order at signing."""

from __future__ import annotations

from collections.abc import Sequence

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
from service.fhir.orders import ORDER_TYPES
from service.fhir.resources import Resources


def draft_orders(_: Call, resources: Resources) -> Sequence[ReviewTarget]:
    """The orders of the context's draftOrders, in sequence; other resources are ignored.

    An order that stands there twice is one order, whichever entries name it.
    """
    found = resources.found_at(("context", "draftOrders"))
    return [ReviewTarget(r) for r in resources.each_once(found) if r.type in ORDER_TYPES]


SERVICE = CdsService(
    id="order-sign-crd",
    hook="order-sign",
    title="Coverage of orders about to be signed",
    description=(
        "Says before signing whether the patient's plan covers the ordered services, which policy "
        "says so, and which advance notice the patient should get."
    ),
    prefetch={"patient": PATIENT, "coverage": COVERAGE, "encounter": ENCOUNTER},
    context_schema=context_schema(
        ["userId", "patientId", "draftOrders"], draftOrders={"$ref": "#/$defs/bundle"}
    ),
    asked=draft_orders,
    tier=HookTier.PRIMARY,
)
