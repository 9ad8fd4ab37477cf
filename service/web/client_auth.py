"""Every endpoint asks for a client, but for those that say they are open to all.

The rule is the application's, not an endpoint's: one that nobody thought about is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import Flask, g, request

from service.auth.clients import ANYONE, Client
from service.auth.rate_limit import CallLimit
from service.errors import Unauthenticated, Unavailable
from service.web.request_log import note

View = TypeVar("View", bound=Callable[..., Any])

_OPEN = "open_to_all"

_NO_TOKEN = frozenset({"", "null"})
"""A client without a key is known to send the word null."""


def open_to_all(view: View) -> View:
    """Mark a view function as one that asks for no client: discovery, public pages, health."""
    setattr(view, _OPEN, True)
    return view


def current_client() -> Client:
    """The client of the call that is being answered; ANYONE where the service is open."""
    client: Client = g.client
    return client


@dataclass(frozen=True, slots=True)
class Admission:
    """What lets a call in.

    `client_of` takes a token and the URL called and gives the client or raises an error of
    service.errors; None where the service is open. `base_url` is the service's public base URL.
    `slots` are the calls that are answered at a time; `limit` is None where none is set.
    """

    client_of: Callable[[str, str], Client] | None
    base_url: str
    slots: threading.BoundedSemaphore
    limit: CallLimit | None


def require_client(app: Flask, admission: Admission) -> None:
    """Ask for a client before each view of `app` that is not `open_to_all`.

    No byte of the body is read before. The client is then `current_client()`. Refusals are 401,
    429 and 503, as OperationOutcomes.
    """

    @app.before_request
    def admit() -> None:
        if _asks_for_nobody(app):
            return
        if not admission.slots.acquire(blocking=False):
            raise Unavailable("too many calls at a time", retry_after=1)
        g.slot = admission.slots
        g.client = _client(admission)
        note(client=g.client.name)
        if admission.limit is not None:
            admission.limit.count(g.client)

    @app.teardown_request
    def leave(_: BaseException | None) -> None:
        slot = g.pop("slot", None)
        if slot is not None:
            slot.release()


def _asks_for_nobody(app: Flask) -> bool:
    """Nothing is there (404, 405), it is open, or it is a browser asking what it may send."""
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
    return admission.client_of(token.strip(), admission.base_url + request.path)
