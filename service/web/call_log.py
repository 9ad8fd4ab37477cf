"""One line of log a call: what was called, by whom, how it ended, how long it took.

What is written is this program's own words and numbers: route, service, hook, version, the client's
name from the operator's file, status, counts and times. Nothing that came with a call is: a path, a
key id or a hookInstance may hold anything.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from flask import Flask, Response, g, request

log = structlog.get_logger(__name__)

_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})


def log_calls(app: Flask) -> None:
    """Write the line after each call. Register first, so that the line sees the final answer."""

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()
        g.call_id = str(uuid.uuid4())

    @app.after_request
    def write(response: Response) -> Response:
        rule = request.url_rule
        log.info(
            "call",
            call=g.call_id,
            method=request.method if request.method in _METHODS else "other",
            route=rule.rule if rule is not None else None,
            status=response.status_code,
            **g.get("noted", {}),
            ms=_milliseconds(g.started),
        )
        # Support finds the line by it; the caller has no say in it.
        response.headers["Covercard-Call"] = g.call_id
        return response


def name_call(call_id: str) -> None:
    """Call the current call by this id, in the line, in the answer and in the decision log."""
    g.call_id = call_id


def note(**facts: str | int | float | None) -> None:
    """Add facts to the line of the current call. Never a value that came with the call."""
    if "noted" not in g:
        g.noted = {}
    g.noted.update(facts)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Note how many milliseconds the block takes, as `<name>_ms`."""
    started = time.perf_counter()
    try:
        yield
    finally:
        note(**{f"{name}_ms": _milliseconds(started)})


def _milliseconds(since: float) -> float:
    return round((time.perf_counter() - since) * 1000, 2)
