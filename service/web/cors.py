"""CORS: listed origins only, with the methods and headers that the endpoints accept."""

from __future__ import annotations

import re
from collections.abc import Set

from flask import Flask
from flask_cors import CORS

_CALLED_BY_BROWSERS: list[str | re.Pattern[str]] = [r"/cds-services(/.*)?$", r"/fhir/.*"]
"""Endpoints of CDS clients and form apps; pages are not shared with other origins."""

_PREFLIGHT_HOLDS = 600
"""Seconds for which a browser may cache a preflight."""


def allow_origins(app: Flask, origins: Set[str]) -> None:
    """Allow exactly these origins (https://host[:port]); no wildcard, no cookies."""
    if not origins:
        return
    CORS(
        app,
        resources=_CALLED_BY_BROWSERS,
        origins=sorted(origins),
        methods=["GET", "POST"],
        allow_headers=["authorization", "content-type"],
        supports_credentials=False,
        always_send=False,
        vary_header=True,
        max_age=_PREFLIGHT_HOLDS,
    )
