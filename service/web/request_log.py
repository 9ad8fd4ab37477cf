"""Request log: one line a call with route, client, outcome and duration.

Lines contain this program's own words and numbers: route, service, hook, version, the client's
name from the operator's file, status, counts and times. They contain nothing of the call itself: a
path, a key id or a hookInstance may contain anything.
"""

from __future__ import annotations

import time
import uuid
from contextvars import ContextVar
from types import TracebackType

import structlog
from flask import Flask, Response, request

from service.call_facts import begin_call, note, noted

log = structlog.get_logger(__name__)

_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
_started: ContextVar[float] = ContextVar("started")


def log_calls(app: Flask) -> None:
    """Log each call. Register first, so that the line has the final answer.

    What is noted of a call is on every line that is logged until its answer.
    """

    @app.before_request
    def start() -> None:
        begin_call()
        _started.set(time.perf_counter())

    @app.after_request
    def write(response: Response) -> Response:
        call_id = noted().get("call")
        if call_id is None:
            call_id = str(uuid.uuid4())
            name_call(call_id)
        call = request._get_current_object()  # type: ignore[attr-defined]
        rule, method = call.url_rule, call.method
        log.info(
            "call",
            method=method if method in _METHODS else "other",
            route=rule.rule if rule is not None else None,
            status=response.status_code,
            ms=_milliseconds(_started.get()),
        )
        begin_call()
        # Identifies the line for support; never taken from the caller.
        response.headers.add("Covercard-Call", str(call_id))
        return response


def name_call(call_id: str) -> None:
    """Set the current call's id, in line, answer and decision log."""
    note(call=call_id)


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
        note(**{f"{self._name}_ms": _milliseconds(self._started)})


def _milliseconds(since: float) -> float:
    return round((time.perf_counter() - since) * 1000, 2)
