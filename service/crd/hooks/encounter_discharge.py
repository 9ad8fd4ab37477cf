"""encounter-discharge 1.0: review of the orders of an ending encounter."""

from __future__ import annotations

from service.crd.cds_service import (
    COVERAGE,
    ENCOUNTER,
    PATIENT,
    CdsService,
    HookTier,
    context_schema,
)
from service.crd.hooks.encounter_hooks import missing_of_the_encounter, of_the_encounter

SERVICE = CdsService(
    id="encounter-discharge-crd",
    hook="encounter-discharge",
    title="Coverage of what was ordered in the visit",
    description="Warns in one line if something ordered during the visit is not covered.",
    prefetch={"patient": PATIENT, "coverage": COVERAGE, "encounter": ENCOUNTER},
    context_schema=context_schema(
        ["userId", "patientId", "encounterId"], encounterId={"type": "string", "minLength": 1}
    ),
    asked=of_the_encounter,
    tier=HookTier.SECONDARY,
    needs=missing_of_the_encounter,
)
