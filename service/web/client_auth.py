"""Client authentication of endpoints: required unless a view is marked `open_to_all`.

The rule is the application's, so that a new endpoint is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, Request, Response, g, request
from flask.ctx import _AppCtxGlobals

from service.auth.call_places import CallPlaces
from service.auth.client_share import SpentShares, StoredBytes
from service.auth.clients import ANYONE, Client
from service.auth.places import Places
from service.auth.rate_limit import CallLimit
from service.call_facts import note
from service.errors import TooManyCalls, Unauthenticated, Unavailable
from service.web.json_body import receive_body
from service.web.proxied_request import proxied_request
from service.web.visitors import visitor

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

    `client_of` takes a token, the called URL, the visitor's address and the digest of the proxy's
    request, and returns the client or raises an error of service.errors; None in open mode.
    `base_url` is the service's public base URL; `behind_proxy` is true where a trusted proxy stands
    before the service. `checks` limit the tokens checked at a time; `stored` the bytes a minute of
    one client, `limit` its calls a minute, None without a limit; `bodies` the bodies read at a
    time; `places` are those of calls. `spent` gets the clients that have had their share of a
    minute; `pause` holds who gets a 429 or 503 for a moment. `count` is told of one more (1) or one
    less (-1) request that is "open" or "checking".
    """

    client_of: Callable[[str, str, str, str | None], Client] | None
    base_url: str
    behind_proxy: bool
    checks: threading.BoundedSemaphore
    stored: StoredBytes
    limit: CallLimit | None
    bodies: Places
    places: CallPlaces
    spent: SpentShares
    pause: Callable[[], None] = lambda: None
    count: Callable[[str, int], None] = lambda _state, _change: None


def require_client(app: Flask, admission: Admission) -> None:
    """Require a client before each view of `app` that is not `open_to_all`.

    Checks the token before the body is read, reads the body, and sets `current_client()`. Refusals
    are 401, 429 and 503, as OperationOutcomes.
    """

    @app.before_request
    def admit() -> None:
        admission.count("open", 1)
        call, of_call = request._get_current_object(), g._get_current_object()  # type: ignore[attr-defined]
        of_call.open = True
        if _asks_for_nobody(app, call):
            return
        try:
            let_in(call, of_call)
        except (TooManyCalls, Unavailable):
            admission.pause()
            raise

    def let_in(call: Request, of_call: _AppCtxGlobals) -> None:
        client = of_call.client = _client(admission, call)
        note(client=client.name)
        minute = admission.spent.minute()
        try:
            if admission.limit is not None:
                admission.limit.count(client)
            admission.stored.check(client)
        except TooManyCalls:
            admission.spent.add(client, visitor(), minute)
            raise
        # A body that does not come holds no place of a call.
        admission.bodies.take(client.issuer)
        try:
            receive_body(call, of_call)
        finally:
            admission.bodies.give_back(client.issuer)
        of_call.place = admission.places.enter(client)

    @app.after_request
    def count(response: Response) -> Response:
        of_call = g._get_current_object()
        if "refusal" in of_call:
            note(working=admission.places.at_work, waiting=admission.places.waiting)
        if "place" in of_call:
            size = of_call.get("body_bytes", 0) + of_call.get("fetched_bytes", 0)
            size += response.content_length or 0
            admission.stored.add(of_call.client, size)
            of_call.place.called(size)
        return response

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        of_call = g._get_current_object()
        place = of_call.pop("place", None)
        if place is not None:
            place.leave()
        if of_call.pop("open", False):
            admission.count("open", -1)


def waiting_for_ehr() -> AbstractContextManager[None]:
    """A block in which the current call waits for its EHR: its place at work is free for others.

    Raises TooManyCalls or Unavailable if too many calls wait already.
    """
    place = g.get("place")
    return nullcontext() if place is None else place.waiting()


def turn_to_compute(size: int = 0) -> AbstractContextManager[None]:
    """A block in which the current call computes; others of its client wait in line.

    `size` is the number of bytes of its body.
    """
    place = g.get("place")
    return nullcontext() if place is None else place.turn(size)


def aside() -> AbstractContextManager[None]:
    """A block in which the current call waits for something else, and gives its turn away."""
    place = g.get("place")
    return nullcontext() if place is None else place.aside()


def _asks_for_nobody(app: Flask, call: Request) -> bool:
    """Whether the request needs no client: no such route (404, 405), an open view, or a
    preflight.
    """
    rule = call.url_rule
    if rule is None or rule.endpoint.rpartition(".")[2] == "static":
        return True
    if call.method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
        return True
    return getattr(app.view_functions[rule.endpoint], _OPEN, False) is True


def _client(admission: Admission, call: Request) -> Client:
    if admission.client_of is None:
        return ANYONE
    scheme, _, token = call.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or token in _NO_TOKEN:
        raise Unauthenticated(None, "expected Authorization: Bearer with a client's signed JWT")
    admission.count("checking", 1)
    try:
        # Few at a time: a check may wait, for a key set that was never read or for the database.
        if not admission.checks.acquire(timeout=_SECONDS_FOR_A_CHECK):
            raise Unavailable("too many tokens at a time", 1, limit="tokens at a time, all")
        try:
            url = admission.base_url + call.path
            sent = proxied_request(call) if admission.behind_proxy else None
            return admission.client_of(token.strip(), url, visitor(), sent)
        finally:
            admission.checks.release()
    finally:
        admission.count("checking", -1)
