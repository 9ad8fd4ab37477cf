"""To whom an answer goes, and the decided orders that it is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from service.crd.options import Options
from service.crd.service import Answering
from service.crd.versions import CrdVersion
from service.decision.model import Determination
from service.fhir.document import Resource


@dataclass(frozen=True, slots=True)
class Decided:
    """An order with the resource that it was read from and what was determined of it."""

    resource: Resource
    determination: Determination


@dataclass(frozen=True, slots=True)
class Addressee:
    """What of the call shapes the answer. References are "Type/id".

    `now` is in the service's time zone; `ehr` is the caller's FHIR base URL or "";
    `orders_in_request` counts all of them, decided or not.
    """

    version: CrdVersion
    options: Options
    patient: str
    encounter: str | None
    ehr: str
    orders_in_request: int
    answering: Answering
    now: datetime
