"""What a CDS service is here: the facts of one hook, from which discovery and calls are served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from service.fhir.document import Document, Resource
from service.fhir.resources import Resources


class Call(Protocol):
    """What a hook needs of a call to find the orders that are to be decided."""

    @property
    def document(self) -> Document: ...

    @property
    def context(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Service:
    """One CDS service: one id, one hook.

    `prefetch` are standard CDS Hooks templates, only what every call needs (CRD 2.2.1 found-27);
    `context_schema` is a JSON Schema of the hook's context, with the definitions of `fhir.json`;
    `orders` finds the resources that coverage is asked about; `primary` hooks always answer with
    coverage information (CRD 2.2.1 hook-16).
    """

    id: str
    hook: str
    title: str
    description: str
    prefetch: Mapping[str, str]
    context_schema: Mapping[str, Any]
    orders: Callable[[Call, Resources], Sequence[Resource]]
    primary: bool


PATIENT = "Patient/{{context.patientId}}"
COVERAGE = "Coverage?patient={{context.patientId}}&status=active&_include=Coverage:payor"
ENCOUNTER = "Encounter/{{context.encounterId}}"
