"""CDS services: one module for each hook, and their list."""

from __future__ import annotations

from service.crd.cds_service import CdsService
from service.crd.hooks import (
    appointment_book,
    encounter_discharge,
    encounter_start,
    order_dispatch,
    order_select,
    order_sign,
)

SERVICES: tuple[CdsService, ...] = (
    order_sign.SERVICE,
    order_select.SERVICE,
    order_dispatch.SERVICE,
    appointment_book.SERVICE,
    encounter_start.SERVICE,
    encounter_discharge.SERVICE,
)
