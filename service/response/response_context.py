"""Response context: the receiver of an answer, and its decided orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.crd.cds_service import HookTier
from service.crd.configuration_options import Options
from service.crd.crd_version import CrdVersion
from service.decision.determination import Determination
from service.decision.facts import Facts
from service.ehr.fetch_report import UnreadBecause
from service.fhir.document import Resource
from service.fhir.order_details import OrderDetails


@dataclass(frozen=True, slots=True)
class Decided:
    """An order's resource with its determination.

    `depends_on` are further resources of the answer ("Type/id"): the appointment that set its day.
    `facts` are those that the determination could turn on, for forms.
    """

    resource: Resource
    determination: Determination
    details: OrderDetails
    facts: Facts
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ResponseContext:
    """The facts of the call that shape its answer. References are "Type/id".

    `now` is in the service's time zone; `client` is the caller's name, "" in open mode; `ehr` is
    its FHIR base URL or "";
    `orders_in_request` counts all orders, decided or not; `orders_unread` are named orders that
    could not be read ("Type/id", or words for an invalid reference). `questionnaires_missing` are
    canonicals with version that the EHR was asked for and does not have. `patient_at_hand` is
    the Patient, if it is present. `unread_because` is the reason why missing data were not fetched.
    `hook` is the hook's name, `apps` the launch URLs by name of the client's SMART apps.
    `coverages` are the Coverages at hand by reference.
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
    patient_at_hand: Resource | None = None
    unread_because: UnreadBecause = UnreadBecause.NO_SERVER
    hook: str = ""
    apps: Mapping[str, str] = field(default_factory=dict)
    coverages: Mapping[str, Resource] = field(default_factory=dict)
    client: str = ""
