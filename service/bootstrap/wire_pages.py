"""Page wiring: public policies, and workbench and decisions where they are enabled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

from flask import Flask, Response

from cards.texts import Texts
from service.auth.client_share import MinuteCounts
from service.auth.places import Places
from service.auth.proxy_sign_in import load_proxy_sign_in
from service.auth.readers import Readers
from service.auth.sessions import Sessions
from service.auth.sign_in_limits import SignInLimits
from service.bootstrap.lasting import Lasting
from service.bootstrap.security import wire_sign_in_counts, wire_used
from service.crd.cds_service import CdsService
from service.crd.versions import CrdVersions
from service.decision.coverage import Payer
from service.decision_log.reading import open_log
from service.decision_log.recorder import Recorder
from service.policies.notices import NoticeLibrary
from service.policies.policy_store import PolicyStore
from service.review.order_review import Review
from service.settings import Settings
from service.web.client_auth import open_to_all
from service.web.decision_pages import DecisionPages, decisions_blueprint
from service.web.fixtures import load_fixtures
from service.web.pages import Tab, frame_pages
from service.web.policy_pages import PolicyPages, policy_pages_blueprint
from service.web.reader_session import ReaderAuth
from service.web.visitors import VisitorLimits
from service.web.workbench import Workbench, workbench_blueprint

SIGN_INS_OF_AN_ADDRESS = 20
SIGN_INS_OF_A_NAME = 60
"""Attempts a minute."""

LOOKS_AT_A_TIME = 4
LOOKS_OF_A_READER = 3

VISITORS_AT_A_TIME = 8
"""Of each group: policies, workbench, sign-in, token requests."""
VISITORS_OF_AN_ADDRESS = 4
PAGES_OF_AN_ADDRESS = 2
"""A page takes as much of the processor as a call."""
VISITS_PER_MINUTE = 600
"""Of one address, for each group of pages."""

MOST_VISITORS = 4 * VISITORS_AT_A_TIME + LOOKS_AT_A_TIME
"""Requests of visitors and readers at a time: each may hold a thread."""


def wire_pages(
    app: Flask,
    calls: Flask,
    settings: Settings,
    *,
    policies: PolicyStore,
    notices: NoticeLibrary,
    payers: Iterable[Payer],
    services: Sequence[CdsService],
    versions: CrdVersions,
    review: Callable[[str, bytes], Review],
    texts: Texts,
    clock: Callable[[], datetime],
    recorder: Recorder,
    readers: Readers | None,
    policies_digest: str,
    lasting: Lasting,
    visitor_computes: Callable[[], AbstractContextManager[None]],
) -> None:
    """Add the pages to `app`, in which `calls` is mounted.

    `review` decides a call without recording it; `recorder` records each access to the decision
    log; `visitor_computes` is a block in which an explanation is made.

    Raises ConfigurationError for wrong fixtures.
    """
    tabs = [Tab("Policies", "/policies")]
    pages = PolicyPages(policies, notices, settings.base_url, clock, settings.zone, policies_digest)
    app.register_blueprint(
        policy_pages_blueprint(pages, visitor_limits("page requests", PAGES_OF_AN_ADDRESS))
    )
    if settings.workbench_on:
        tabs.insert(0, Tab("Workbench", "/"))
        workbench = Workbench(
            # An unauthenticated caller may view an answer, but not have a call decided.
            review=None if settings.asks_for_clients else review,
            services=services,
            versions=versions,
            policies=policies,
            payers=payers,
            fixtures=load_fixtures(settings.fixtures_dir),
            today=lambda: clock().astimezone(settings.zone).date(),
            policies_digest=policies_digest,
        )
        limits = visitor_limits("workbench requests")
        app.register_blueprint(workbench_blueprint(workbench, limits, visitor_computes))
    else:
        app.add_url_rule("/", "home", open_to_all(_to_the_policies))
    if readers is not None or settings.pages_oidc_file is not None:
        # Not among the tabs of public pages.
        tabs.append(Tab("Decisions", "/decisions", everywhere=settings.workbench_on))
        reader_auth = wire_door(settings, readers or Readers(()), clock, lasting)
        app.register_blueprint(
            decisions_blueprint(wire_decisions(settings, texts, clock, recorder), reader_auth)
        )
    frame_pages(app, calls, tuple(tabs), policies_digest)


def wire_door(
    settings: Settings, readers: Readers, clock: Callable[[], datetime], lasting: Lasting
) -> ReaderAuth:
    """Reader authentication; attempts are counted like calls.

    Raises LibraryError for a wrong file of the provider.
    """
    attempts = lasting.of(
        "sign-ins",
        lambda: SignInLimits(
            SIGN_INS_OF_AN_ADDRESS, SIGN_INS_OF_A_NAME, wire_sign_in_counts(settings, lasting)
        ),
    )
    oidc = settings.pages_oidc_file
    return ReaderAuth(
        proxy=load_proxy_sign_in(oidc, clock) if oidc is not None else None,
        by_secret=settings.readers_file is not None,
        sessions=Sessions(readers, wire_used(settings, lasting), clock),
        attempts=attempts,
        visitors=visitor_limits("requests for the sign-in"),
        looks=Places("look-ups", LOOKS_AT_A_TIME, LOOKS_OF_A_READER),
        encrypted=settings.base_url.startswith("https://"),
        public_host=urlsplit(settings.base_url).netloc,
    )


def visitor_limits(what: str, of_an_address: int = VISITORS_OF_AN_ADDRESS) -> VisitorLimits:
    """The limits of one group of requests, which `what` names."""
    places = Places(what, VISITORS_AT_A_TIME, of_an_address)
    return VisitorLimits(places, VISITS_PER_MINUTE, MinuteCounts())


def wire_decisions(
    settings: Settings, texts: Texts, clock: Callable[[], datetime], recorder: Recorder
) -> DecisionPages:
    """The pages of the decision log."""
    return DecisionPages(
        open_log=partial(
            open_log, settings.database_url, recorder, replica=settings.read_database_url
        ),
        waiting=lambda: recorder.health().waiting.seconds,
        clock=clock,
        zone=settings.zone,
        texts=texts,
    )


def _to_the_policies() -> Response:
    return Response(status=302, headers={"Location": "/policies"})
