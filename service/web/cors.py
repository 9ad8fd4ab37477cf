"""Cross-origin calls by browsers: from listed origins only, and only what is accepted anyway."""

from __future__ import annotations

import re
from collections.abc import Set

from flask import Flask
from flask_cors import CORS

_CALLED_BY_BROWSERS: list[str | re.Pattern[str]] = [r"/cds-services(/.*)?$", r"/fhir/.*"]
"""The endpoints that CDS clients and form apps call; pages are nobody else's business."""

_PREFLIGHT_HOLDS = 600
"""Seconds for which a browser may remember what it was allowed."""


def allow_origins(app: Flask, origins: Set[str]) -> None:
    """Let pages of exactly these origins (https://host[:port]) call; no wildcard, no cookies."""
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
