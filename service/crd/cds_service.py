"""What a CDS service is here: the facts of one hook, from which discovery and calls are served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from service.ehr.fhir_query import FhirQuery
from service.fhir.document import Document, Resource
from service.fhir.resources import Resources


class Call(Protocol):
    """What a hook needs of a call to find the orders that are to be decided."""

    @property
    def document(self) -> Document: ...

    @property
    def context(self) -> Mapping[str, Any]: ...

    @property
    def patient_id(self) -> str: ...

    @property
    def encounter_id(self) -> str | None: ...


class HookTier(Enum):
    """How much a hook's answer says."""

    PRIMARY = "primary"
    """Both cards and coverage information, always (CRD 2.2.1 hook-16): the primary hooks."""
    EARLY = "early"
    """One line of early warning, and coverage information that asks for no form (hook-19)."""
    SECONDARY = "secondary"
    """One line, and only where something is not covered; of the visit itself, coverage information
    that asks for no form (CRD 2.2.1 hook-19)."""

    def states_coverage_of(self, resource_type: str) -> bool:
        """Whether coverage information goes out on resources of this type."""
        return self is not HookTier.SECONDARY or resource_type == "Encounter"


@dataclass(frozen=True, slots=True)
class ReviewTarget:
    """A resource that coverage is asked about, and the appointment that sets its day, if any."""

    resource: Resource
    appointment: Resource | None = None


def no_needs(_: Call, __: Resources) -> Sequence[FhirQuery]:
    """For a hook whose context brings everything that is its own."""
    return ()


@dataclass(frozen=True, slots=True)
class CdsService:
    """One CDS service: one id, one hook.

    `prefetch` are standard CDS Hooks templates, only what every call needs (CRD 2.2.1 found-27);
    `context_schema` is a JSON Schema of the hook's context, with the definitions of `fhir.json`;
    `asked` finds the resources that coverage is asked about; `needs` says which resources of the
    hook's own are missing for that, given what is at hand.
    """

    id: str
    hook: str
    title: str
    description: str
    prefetch: Mapping[str, str]
    context_schema: Mapping[str, Any]
    asked: Callable[[Call, Resources], Sequence[ReviewTarget]]
    tier: HookTier
    needs: Callable[[Call, Resources], Sequence[FhirQuery]] = no_needs


PATIENT = "Patient/{{context.patientId}}"
COVERAGE = "Coverage?patient={{context.patientId}}&status=active"
"""CRD's standard expression, to the letter (CRD 2.2.1 found-29): without the payer's Organization,
which is needed only where Coverage.payor does not bear the payer's identifier itself (found-28)."""
ENCOUNTER = "Encounter/{{context.encounterId}}"


def context_schema(required: Sequence[str], **properties: object) -> dict[str, Any]:
    """The JSON Schema of a context with a patient, perhaps an encounter, and what is added."""
    return {
        "type": "object",
        "required": [*required],
        "properties": {
            "userId": {"type": "string", "minLength": 1},
            "patientId": {"type": "string", "minLength": 1},
            "encounterId": {"type": ["string", "null"]},
            **properties,
        },
    }
