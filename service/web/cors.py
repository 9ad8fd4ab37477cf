"""CORS: listed origins only, with the methods and headers that the endpoints accept."""

from __future__ import annotations

import re
from collections.abc import Set

import structlog
from flask import Flask, request
from flask_cors import CORS

_CALLED_BY_BROWSERS: list[str | re.Pattern[str]] = [r"/cds-services(/.*)?$", r"/fhir/.*"]
"""Endpoints of CDS clients and form apps; pages are not shared with other origins."""

_PREFLIGHT_HOLDS = 600
"""Seconds for which a browser may cache a preflight."""


_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?")
_MOST_NAMED = 50

log = structlog.get_logger(__name__)


def _log_refused(app: Flask, origins: Set[str]) -> None:
    named: set[str] = set()

    @app.before_request
    def look_at_origin() -> None:
        origin = request.environ.get("HTTP_ORIGIN")
        if origin is None or origin in origins or origin == request.host_url.rstrip("/"):
            return
        shared = any(re.match(path, request.path) for path in _CALLED_BY_BROWSERS)
        if not shared or origin in named or len(named) == _MOST_NAMED:
            return
        named.add(origin)
        log.warning(
            "origin refused",
            origin=origin if _ORIGIN.fullmatch(origin) else "(none that could be listed)",
            repair="list it in COVERCARD_CORS_ORIGINS if its pages may call",
        )


def allow_origins(app: Flask, origins: Set[str]) -> None:
    """Allow exactly these origins (https://host[:port]); no wildcard, no cookies.

    A refused one is logged by its name, once: its browser only says that something failed.
    """
    _log_refused(app, origins)
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
