"""To whom an answer goes, and the decided orders that it is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from service.crd.cds_service import HookTier
from service.crd.configuration_options import Options
from service.crd.crd_version import CrdVersion
from service.decision.determination import Determination
from service.fhir.document import Resource
from service.fhir.order_details import OrderDetails
from service.fhir.people import Person


@dataclass(frozen=True, slots=True)
class Decided:
    """An order with the resource that it was read from and what was determined of it."""

    resource: Resource
    determination: Determination
    details: OrderDetails


@dataclass(frozen=True, slots=True)
class ResponseContext:
    """What of the call shapes the answer. References are "Type/id".

    `now` is in the service's time zone; `ehr` is the caller's FHIR base URL or "";
    `orders_in_request` counts all of them, decided or not; `orders_unread` are those of them that
    the call names and that could not be had ("Type/id", or words where it is no reference).
    `questionnaires_missing` are canonicals with version that the EHR was asked for and does not
    have; what it was not asked for is not among them. `person` is the patient where the
    Patient is at hand.
    """

    version: CrdVersion
    options: Options
    patient: str
    encounter: str | None
    ehr: str
    orders_in_request: int
    tier: HookTier
    now: datetime
    orders_unread: tuple[str, ...] = ()
    questionnaires_missing: frozenset[str] = frozenset()
    person: Person | None = None
