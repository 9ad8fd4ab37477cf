"""One module a hook; this list is what the service offers."""

from __future__ import annotations

from service.crd.hooks import order_sign
from service.crd.service import Service

SERVICES: tuple[Service, ...] = (order_sign.SERVICE,)
