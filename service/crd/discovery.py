"""Discovery (GET /cds-services), constant while the service runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from service.crd.cds_service import CdsService
from service.crd.configuration_options import OFFERED
from service.crd.versions import CrdVersions


def discovery(services: Iterable[CdsService], versions: CrdVersions) -> dict[str, object]:
    """The CDS Hooks discovery response with CRD's extensions (CRD 2.2.1 dev-1 to dev-8)."""
    names = [v.name for v in versions]
    return {"services": [_described(s, names) for s in services]}


def _described(service: CdsService, versions: Sequence[str]) -> dict[str, object]:
    return {
        "id": service.id,
        "hook": service.hook,
        "title": service.title,
        "description": service.description,
        "prefetch": dict(service.prefetch),
        "extension": {
            "davinci-crd.version": [*versions],
            "davinci-crd.configuration-options": [dict(o) for o in OFFERED[service.hook]],
        },
    }
