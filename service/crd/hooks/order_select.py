"""order-select 1.0: review of the selected draft orders."""

from __future__ import annotations

from collections import Counter
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
from service.crd.hooks.order_sign import draft_orders
from service.fhir.resources import Resources


def selected_orders(call: Call, resources: Resources) -> Sequence[ReviewTarget]:
    """The draft orders in the context's selections (CRD 2.2.1 hook-34).

    A selection is a reference; a bare id, as some clients send, is that of the one draft that has
    it.
    """
    drafts = draft_orders(call, resources)
    bare = Counter(draft.resource.id for draft in drafts)
    selections = {resources.local(s) for s in call.context["selections"]}
    return [
        draft
        for draft in drafts
        if draft.resource.reference in selections
        or (draft.resource.id in selections and bare[draft.resource.id] == 1)
    ]


SERVICE = CdsService(
    id="order-select-crd",
    hook="order-select",
    title="Coverage of a service just chosen",
    description="Warns in one line, while ordering, that a chosen service may not be covered.",
    prefetch={"patient": PATIENT, "coverage": COVERAGE, "encounter": ENCOUNTER},
    context_schema=context_schema(
        ["userId", "patientId", "selections", "draftOrders"],
        selections={"type": "array", "items": {"type": "string"}},
        draftOrders={"$ref": "#/$defs/bundle"},
    ),
    asked=selected_orders,
    tier=HookTier.EARLY,
)
