"""Errors → HTTP: always an OperationOutcome, never a stack trace (CRD 2.2.1 hook-9, hook-10)."""

from __future__ import annotations

import structlog
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from service.errors import RecordsUnavailable, RequestError, operation_outcome
from service.web.json_body import json_response

_ISSUE_CODES = {404: "not-found", 405: "not-supported", 413: "too-long", 415: "not-supported"}

log = structlog.get_logger(__name__)


def internal_error() -> dict[str, object]:
    """What a caller is told of an error of ours."""
    return operation_outcome("exception", [("", "internal error")])


def translate_errors(app: Flask) -> None:
    """Register the translations with the application."""

    @app.errorhandler(RequestError)
    def request_error(error: RequestError) -> Response:
        return json_response(error.operation_outcome(), error.status)

    @app.errorhandler(RecordsUnavailable)
    def records_unavailable(error: RecordsUnavailable) -> Response:
        response = json_response(error.operation_outcome(), error.status)
        response.headers["Retry-After"] = str(error.retry_after_seconds)
        return response

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        status = error.code or 500
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
        # The type only: a message may quote what came with the call.
        frames = _frames(error)
        log.error("unexpected error", kind=type(error).__name__, frames=frames)
        return json_response(internal_error(), 500)


def _frames(error: BaseException) -> list[str]:
    """Where it happened, as module:line, without any value."""
    frames: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_globals.get("__name__", "?")
        frames.append(f"{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return frames[-8:]
