"""CDS service: the definition of one hook, for discovery and calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from service.ehr.fhir_query import FhirQuery
from service.fhir.document import Document, Resource
from service.fhir.resources import Resources


class Call(Protocol):
    """The parts of a call that a hook needs to find its orders."""

    @property
    def document(self) -> Document: ...

    @property
    def context(self) -> Mapping[str, Any]: ...

    @property
    def patient_id(self) -> str: ...

    @property
    def encounter_id(self) -> str | None: ...


class HookTier(StrEnum):
    """Tier of a hook: the extent of its answer."""

    PRIMARY = "primary"
    """Primary hooks: cards and coverage information, always (CRD 2.2.1 hook-16)."""
    EARLY = "early"
    """One line of early warning, and coverage information without forms (hook-19)."""
    SECONDARY = "secondary"
    """One line, and only where something is not covered; of the visit itself, coverage information
    that asks for no form (CRD 2.2.1 hook-19)."""

    def states_coverage_of(self, resource_type: str) -> bool:
        """Whether coverage information goes out on resources of this type."""
        return self is not HookTier.SECONDARY or resource_type == "Encounter"


@dataclass(frozen=True, slots=True)
class ReviewTarget:
    """A resource under review, with the appointment that sets its day, if any.

    `alike` stands in for the resource where another one of the call tells the same.
    """

    resource: Resource
    appointment: Resource | None = None
    alike: ReviewTarget | None = None


def no_needs(_: Call, __: Resources) -> Sequence[FhirQuery]:
    """The queries of a hook with a self-contained context: none."""
    return ()


@dataclass(frozen=True, slots=True)
class CdsService:
    """One CDS service: one id, one hook.

    `prefetch` are standard CDS Hooks templates, only what every call needs (CRD 2.2.1 found-27);
    `context_schema` is a JSON Schema of the hook's context, with the definitions of `fhir.json`;
    `asked` finds the resources under review; `needs` gives the queries for the hook's own missing
    resources.
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
"""CRD's standard expression, verbatim (CRD 2.2.1 found-29), without the payer's Organization: that
is needed only for a Coverage.payor without an identifier (found-28)."""
ENCOUNTER = "Encounter/{{context.encounterId}}"


def context_schema(required: Sequence[str], **properties: object) -> dict[str, Any]:
    """The JSON Schema of a context with a patient, an optional encounter, and `properties`."""
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
