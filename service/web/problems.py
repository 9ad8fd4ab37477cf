"""Error responses: OperationOutcomes without stack traces (CRD 2.2.1 hook-9, hook-10)."""

from __future__ import annotations

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from service.call_facts import note
from service.errors import (
    RequestError,
    TooManyCalls,
    Unauthenticated,
    Unavailable,
    UnhandledPayer,
    operation_outcome,
)
from service.uncaught import place_of
from service.web.json_body import json_response
from service.web.pages import http_error_page, later_page, page_wanted

_ISSUE_CODES = {404: "not-found", 405: "not-supported", 413: "too-long", 415: "not-supported"}

log = structlog.get_logger(__name__)


def internal_error() -> dict[str, object]:
    """The OperationOutcome of an internal error."""
    return operation_outcome("exception", [("", "internal error")])


def translate_errors(app: Flask) -> None:
    """Register the error handlers with the application."""

    @app.errorhandler(RequestError)
    @app.errorhandler(Unavailable)
    def refused(error: RequestError | Unavailable) -> Response:
        g.refusal = getattr(error, "limit", None) or type(error).__name__
        note(refused=type(error).__name__)
        if isinstance(error, TooManyCalls | Unavailable) and error.limit is not None:
            note(limit=error.limit)
        if isinstance(error, TooManyCalls) and error.client:
            g.refused_client = error.client
            note(client=error.client, address=request.remote_addr)
        if isinstance(error, Unauthenticated):
            note(claim=error.claim, why=error.why, address=request.remote_addr)
        if isinstance(error, UnhandledPayer) and error.payers:
            note(payer=", ".join(error.payers))
        if isinstance(error, TooManyCalls | Unavailable) and page_wanted():
            return later_page(error)
        response = json_response(error.operation_outcome(), error.status)
        response.headers.update(error.headers)
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or 500
        g.refusal = f"HTTP {status}"
        shown = http_error_page(status)
        if shown is not None:
            return shown
        outcome = operation_outcome(
            _ISSUE_CODES.get(status, "processing"), [("", error.name.lower())]
        )
        response = json_response(outcome, status)
        for name, value in error.get_headers():
            if name == "Allow":
                response.headers["Allow"] = value
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        # The type only: a message may quote the call.
        log.error("unexpected error", kind=type(error).__name__, frames=place_of(error))
        return http_error_page(500) or json_response(internal_error(), 500)
