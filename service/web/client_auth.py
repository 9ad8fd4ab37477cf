"""Client authentication of endpoints: required unless a view is marked `open_to_all`.

The rule is the application's, so that a new endpoint is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, Response, g, request

from service.auth.client_share import ConcurrentCalls, StoredBytes
from service.auth.clients import ANYONE, Client
from service.auth.places import Places
from service.auth.rate_limit import CallLimit
from service.errors import Unauthenticated, Unavailable
from service.web.json_body import receive_body
from service.web.request_log import note

View = TypeVar("View", bound=Callable[..., Any])

_OPEN = "open_to_all"

_SECONDS_FOR_A_CHECK = 1.0

_NO_TOKEN = frozenset({"", "null"})
"""Some clients without a key send the word null."""


def open_to_all(view: View) -> View:
    """Mark a view as open: discovery, public pages, health."""
    setattr(view, _OPEN, True)
    return view


def current_client() -> Client:
    """The client of the current call; ANYONE in open mode."""
    client: Client = g.client
    return client


@dataclass(frozen=True, slots=True)
class Admission:
    """Admission of calls.

    `client_of` takes a token, the called URL and the caller's address, and returns the client or
    raises an error of service.errors; None in open mode. `base_url` is the service's public base
    URL. `checks` limit the tokens checked at a time; `concurrent` the calls at a time of one
    client, `stored` its bytes a minute, `limit` its calls a minute, None without a limit; `bodies`
    the bodies read at a time, `slots` the calls at a time of all.
    """

    client_of: Callable[[str, str, str], Client] | None
    base_url: str
    checks: threading.BoundedSemaphore
    concurrent: ConcurrentCalls
    stored: StoredBytes
    limit: CallLimit | None
    bodies: Places
    slots: threading.BoundedSemaphore


def require_client(app: Flask, admission: Admission) -> None:
    """Require a client before each view of `app` that is not `open_to_all`.

    Checks the token before the body is read, reads the body, and sets `current_client()`. Refusals
    are 401, 429 and 503, as OperationOutcomes.
    """

    @app.before_request
    def admit() -> None:
        if _asks_for_nobody(app):
            return
        client = g.client = _client(admission)
        note(client=client.name)
        if admission.limit is not None:
            admission.limit.count(client)
        admission.stored.check(client)
        # A body that does not come holds no place of a call.
        with admission.bodies.held(client.issuer):
            receive_body()
        if not admission.slots.acquire(blocking=False):
            raise Unavailable("too many calls at a time", retry_after=1)
        g.held = [admission.slots.release]
        admission.concurrent.begin(client)
        g.held.append(lambda: admission.concurrent.end(client))

    @app.after_request
    def count(response: Response) -> Response:
        if "held" in g:
            admission.stored.add(g.client, g.get("body_bytes", 0) + (response.content_length or 0))
        return response

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        for release in g.pop("held", ()):
            release()


def _asks_for_nobody(app: Flask) -> bool:
    """Whether the request needs no client: no such route (404, 405), an open view, or a
    preflight.
    """
    rule = request.url_rule
    if rule is None or rule.endpoint.rpartition(".")[2] == "static":
        return True
    if request.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
        return True
    return getattr(app.view_functions[rule.endpoint], _OPEN, False) is True


def _client(admission: Admission) -> Client:
    if admission.client_of is None:
        return ANYONE
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or token in _NO_TOKEN:
        raise Unauthenticated(None, "expected Authorization: Bearer with a client's signed JWT")
    # Few at a time: a check may wait, for a key set that was never read or for the database.
    if not admission.checks.acquire(timeout=_SECONDS_FOR_A_CHECK):
        raise Unavailable("too many tokens at a time", retry_after=1)
    try:
        url = admission.base_url + request.path
        return admission.client_of(token.strip(), url, request.remote_addr or "")
    finally:
        admission.checks.release()
