"""Request log: one line a call with route, client, outcome and duration.

Lines contain this program's own words and numbers: route, service, hook, version, the client's
name from the operator's file, status, counts and times. They contain nothing of the call itself: a
path, a key id or a hookInstance may contain anything.
"""

from __future__ import annotations

import time
import uuid
from types import TracebackType

import structlog
from flask import Flask, Response, g, request

log = structlog.get_logger(__name__)

_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})


def log_calls(app: Flask) -> None:
    """Log each call. Register first, so that the line has the final answer."""

    @app.before_request
    def start() -> None:
        g.line = _Line()

    @app.after_request
    def write(response: Response) -> Response:
        line = _line()
        call_id = line.call_id or str(uuid.uuid4())
        rule, method = request.url_rule, request.method
        log.info(
            "call",
            call=call_id,
            method=method if method in _METHODS else "other",
            route=rule.rule if rule is not None else None,
            status=response.status_code,
            **line.noted,
            ms=_milliseconds(line.started),
        )
        # Identifies the line for support; never taken from the caller.
        response.headers["Covercard-Call"] = call_id
        return response


class _Line:
    """The facts of the current call so far."""

    __slots__ = ("call_id", "noted", "started")

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.call_id: str | None = None
        self.noted: dict[str, str | int | float | None] = {}


def _line() -> _Line:
    line: _Line | None = g.get("line")
    if line is None:  # an application without a request log
        line = g.line = _Line()
    return line


def name_call(call_id: str) -> None:
    """Set the current call's id, in line, answer and decision log."""
    _line().call_id = call_id


def note(**facts: str | int | float | None) -> None:
    """Add facts to the current call's line. Never a value of the call itself."""
    _line().noted.update(facts)


class timed:
    """Timer of a block, noted as `<name>_ms` in milliseconds."""

    __slots__ = ("_name", "_started")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        _line().noted[f"{self._name}_ms"] = _milliseconds(self._started)


def _milliseconds(since: float) -> float:
    return round((time.perf_counter() - since) * 1000, 2)
