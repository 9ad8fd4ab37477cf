"""Security wiring: logging, limits, admission and error translation before every view."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from threading import BoundedSemaphore
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog
from flask import Flask
from sqlalchemy import Engine
from werkzeug.middleware.proxy_fix import ProxyFix

from service.accepted_risks import accepted_risks
from service.auth.access_tokens import AccessTokens
from service.auth.backend_services import BackendServices
from service.auth.bearer_tokens import BearerTokens
from service.auth.call_places import CallPlaces, PlaceLimits
from service.auth.client_share import (
    FailedTokens,
    MinuteCounts,
    SlowRefusals,
    SpentShares,
    StoredBytes,
)
from service.auth.clients import Client, ClientsOnFile, TrustedClient
from service.auth.fallback import (
    DeadlineReplayStore,
    FallbackCallCounts,
    InstanceFirstReplayStore,
    without_deadline,
)
from service.auth.instance_tokens import InstanceTokens
from service.auth.pace import PaceLimits
from service.auth.places import Places
from service.auth.rate_limit import (
    CallCounts,
    CallLimit,
    InstanceCallCounts,
    MemoryCallCounts,
    SqlCallCounts,
)
from service.auth.replay_detection import SqlReplayStore, UsedTokens
from service.auth.token_key import token_key
from service.auth.tokens import TokenChecker
from service.bootstrap.lasting import Lasting
from service.database.engines import database_file, open_pool
from service.database.urls import is_sqlite
from service.errors import ConfigurationError
from service.settings import Settings
from service.shared_counts import SharedCounts
from service.web.client_auth import Admission, require_client
from service.web.cors import allow_origins
from service.web.headers import secure_headers
from service.web.limits import refuse_compressed_bodies, refuse_other_names
from service.web.metrics import Metrics
from service.web.problems import translate_errors
from service.web.request_log import log_calls
from service.web.smart_routes import TokenEndpoint
from service.web.tracing import Tracing, trace_calls

log = structlog.get_logger(__name__)

MOST_HELD = 16
"""Refusals held at a time, so that a flood in a few connections ends by itself."""

TOKEN_CHECKS = 8
"""Tokens checked at a time; half of them may wait for a key set (service.auth.key_sets)."""


class Secured(NamedTuple):
    """The registered clients, None in open mode; the token endpoint, None if no client has an id
    there; the places of calls.
    """

    clients: Collection[TrustedClient] | None
    token_endpoint: TokenEndpoint | None
    places: CallPlaces


def secure(
    app: Flask,
    calls: Flask,
    settings: Settings,
    on_file: ClientsOnFile | None,
    clock: Callable[[], datetime],
    metrics: Metrics,
    lasting: Lasting,
    tracing: Tracing | None = None,
) -> Secured:
    """Add logging, limits, admission and error translation, before any blueprint is registered.

    `calls` is mounted in `app`; both have the same. `on_file` are the clients, None in open mode;
    `tracing`, where calls are traced to.

    Raises ConfigurationError if the settings
    expose the service without authentication or run a risk that was not accepted, or for a wrong
    clients file or key.
    """
    settings.check_exposure()
    for risk, message in accepted_risks(settings):
        log.warning("RISK ACCEPTED", risk=risk, setting=message)
    if settings.proxies:
        # The caller's address is what the nearest proxies say; what stands before is the caller's.
        proxied = ProxyFix(
            app.wsgi_app, settings.proxies, x_proto=0, x_host=0, x_port=0, x_prefix=0
        )
        app.wsgi_app = proxied  # type: ignore[method-assign]
    if not settings.asks_for_clients:
        log.warning(
            "OPEN: no authentication, every caller of this address is accepted",
            address=settings.base_url,
        )
    clients = _clients(settings, on_file, lasting)
    admission = wire_admission(settings, clients, clock, metrics, lasting)
    endpoint = None
    if clients is not None and any(trusted.client_id for trusted in clients.values()):
        endpoint, admission = wire_backend_services(settings, clients, clock, admission, lasting)
    for each in (app, calls):
        _secure(each, settings, admission, tracing)
    known = None if clients is None else clients.values()
    return Secured(known, endpoint, admission.places)


def _secure(app: Flask, settings: Settings, admission: Admission, tracing: Tracing | None) -> None:
    # A double slash would be redirected by http: a client that follows would send its call and
    # token in the clear.
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    log_calls(app)
    if tracing is not None:
        trace_calls(app, tracing)
    translate_errors(app)
    secure_headers(app)
    allow_origins(app, settings.allowed_origins)
    refuse_compressed_bodies(app)
    if not settings.asks_for_clients:
        refuse_other_names(app, own_names(settings))
    require_client(app, admission)


def wire_admission(
    settings: Settings,
    clients: Mapping[str, TrustedClient] | None,
    clock: Callable[[], datetime],
    metrics: Metrics,
    lasting: Lasting,
) -> Admission:
    """Admission by tokens and limits; opens the shared database only if one of them needs it."""

    def new() -> Admission:
        return Admission(
            client_of=None,
            base_url=settings.base_url,
            behind_proxy=settings.proxies > 0,
            checks=BoundedSemaphore(TOKEN_CHECKS),
            stored=StoredBytes(settings.bytes_per_minute, MinuteCounts()),
            limit=_call_limit(settings, lasting),
            bodies=Places("request bodies", settings.bodies_at_a_time, settings.share_of_calls),
            places=CallPlaces(
                place_limits(settings),
                metrics.places,
                PaceLimits(settings.calls_per_minute, settings.bytes_per_minute),
            ),
            spent=SpentShares(MinuteCounts()),
            pause=SlowRefusals(MOST_HELD).pause,
            count=metrics.count,
        )

    admission = lasting.of("admission", new)
    if clients is None:
        return admission
    return replace(
        admission, client_of=_token_checker(settings, clients, admission.spent, clock, lasting)
    )


def place_limits(settings: Settings) -> PlaceLimits:
    """The calls at a time of one worker."""
    return PlaceLimits(
        at_work=settings.max_concurrent_calls,
        at_work_of_one=settings.share_of_calls,
        waiting=settings.max_waiting_calls,
        waiting_of_one=settings.share_of_waiting,
    )


def wire_backend_services(
    settings: Settings,
    clients: Mapping[str, TrustedClient],
    clock: Callable[[], datetime],
    admission: Admission,
    lasting: Lasting,
) -> tuple[TokenEndpoint, Admission]:
    """The token endpoint, and admission that takes its access tokens beside clients' own."""
    by_id = {t.client_id: t for t in clients.values() if t.client_id is not None}
    access = AccessTokens(
        {client_id: trusted.client for client_id, trusted in by_id.items()},
        token_key(settings.token_key_file, "COVERCARD_ACCESS_TOKEN_KEY_FILE"),
        settings.base_url,
        f"{settings.base_url}/fhir",
        clock,
    )
    failed = lasting.of("failed assertions", lambda: _failed_tokens(settings))
    services = BackendServices(by_id, access, _used_tokens(settings, lasting), failed, clock)
    endpoint = TokenEndpoint(
        services,
        settings.base_url,
        settings.proxies > 0,
        BoundedSemaphore(TOKEN_CHECKS),
        admission.limit,
        admission.stored,
    )
    if admission.client_of is None:
        return endpoint, admission
    bearer = BearerTokens(admission.client_of, access, settings.base_url)
    return endpoint, replace(admission, client_of=bearer.client_of)


def _clients(
    settings: Settings, on_file: ClientsOnFile | None, lasting: Lasting
) -> Mapping[str, TrustedClient] | None:
    """Clients by issuer; None in open mode."""
    if not settings.asks_for_clients:
        return None
    if on_file is None:
        raise ConfigurationError("COVERCARD_CLIENTS_FILE: name the file of the clients")
    before: Mapping[str, TrustedClient] = lasting.of("clients", dict)
    clients = on_file.trusted(keep_for=settings.keys_max_age, before=before)
    lasting.replace("clients", clients)
    return clients


def _token_checker(
    settings: Settings,
    clients: Mapping[str, TrustedClient],
    spent: SpentShares,
    clock: Callable[[], datetime],
    lasting: Lasting,
) -> Callable[[str, str, str, str | None], Client]:
    failed = lasting.of("failed tokens", lambda: _failed_tokens(settings))
    seen = _used_tokens(settings, lasting)
    return TokenChecker(clients, seen, failed, spent, clock, settings.token_lifetime).client_of


def _failed_tokens(settings: Settings) -> FailedTokens:
    return FailedTokens(settings.failed_tokens_per_minute, MinuteCounts())


def _used_tokens(settings: Settings, lasting: Lasting) -> UsedTokens:
    """The record of used tokens, of all workers and instances."""

    def new() -> UsedTokens:
        own = InstanceTokens(settings.records_dir / "used-tokens.sqlite3")
        if is_sqlite(settings.database_url):
            # Beside the database, not in it: the rows of the log are written there in transactions
            # that may take a while, and no call waits for one.
            file = database_file(settings.database_url)
            beside = InstanceTokens(file.with_name(f"{file.stem}-used-tokens.sqlite3"))
            return InstanceFirstReplayStore(
                own, beside, settings.token_lifetime, in_time=without_deadline
            )
        common = SqlReplayStore(_shared(settings, lasting))
        return InstanceFirstReplayStore(own, common, settings.token_lifetime)

    return lasting.of("used tokens", new)


def wire_used(settings: Settings, lasting: Lasting) -> DeadlineReplayStore:
    """Replay detection of all workers and instances."""
    return lasting.of(
        "ended sessions", lambda: DeadlineReplayStore(SqlReplayStore(_shared(settings, lasting)))
    )


def _call_limit(settings: Settings, lasting: Lasting) -> CallLimit | None:
    if not settings.calls_per_minute:
        return None
    return CallLimit(settings.calls_per_minute, wire_counts(settings, lasting))


def wire_counts(settings: Settings, lasting: Lasting) -> CallCounts:
    """Counts of clients' calls, of this instance or of all that share the database."""
    own = InstanceCallCounts(lasting.of("counts", SharedCounts))
    if not settings.counts_in_database:
        return own
    return FallbackCallCounts(SqlCallCounts(_shared(settings, lasting)), own)


def wire_sign_in_counts(settings: Settings, lasting: Lasting) -> CallCounts:
    """Counts of sign-ins, of all workers. Callers choose what they are counted by, and so they have
    no entries that last.
    """
    if settings.worker_processes == 1 and not settings.counts_in_database:
        return MemoryCallCounts()
    return FallbackCallCounts(SqlCallCounts(_shared(settings, lasting)), MemoryCallCounts())


def _shared(settings: Settings, lasting: Lasting) -> Engine:
    return lasting.of(
        "shared database", lambda: open_pool(settings.database_url, settings.max_concurrent_calls)
    )


def own_names(settings: Settings) -> list[str]:
    """The host names of an open service: its public one, and this machine's.

    In lower case, addresses of IPv6 in brackets.
    """
    public = urlsplit(settings.base_url).hostname or ""
    names = {public, settings.host.strip("[]").lower(), "localhost", "127.0.0.1", "::1"}
    return sorted(f"[{name}]" if ":" in name else name for name in names)
